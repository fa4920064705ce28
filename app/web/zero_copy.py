"""Files that go from the page cache to the client without passing through Python.

ASGI has two extensions for it, "zero copy send" (a stretch of an open file) and "path send" (a whole file; Starlette's
`FileResponse` uses it where it is offered), and Uvicorn has neither. Sending half a megabyte from Python holds up
everything else that the event loop has to do; here a thread of the loop's pool calls `sendfile`, which holds up
nothing. What a slow client doesn't take at once waits on the event loop, without a thread.

The threads work on a duplicate of the connection's descriptor, which is closed only when they are done with it: a
connection that is closed meanwhile leaves its number to the next one, and its bytes must not end up there.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Callable
from functools import partial
from io import FileIO
from typing import Literal, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

logger = logging.getLogger(__name__)

STRETCH = "http.response.zerocopysend"
PATH = "http.response.pathsend"
_END: Message = {"type": "http.response.body", "body": b""}
_PIECE = 1 << 20

Result = TypeVar("Result")


class ZeroCopyProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1 with both extensions. It relies on what is private to Uvicorn, which `protocol` looks at
    first."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        super()._start_asgi_task(cycle, _offering(cycle, app))  # type: ignore[arg-type]


def protocol(wanted: bool = True) -> type[asyncio.Protocol] | Literal["auto"]:
    """What Uvicorn is to speak HTTP with: with both extensions if they are wanted and work here. Without them files
    are sent all the same, through Python."""
    if not wanted:
        return "auto"
    missing = "this system has no sendfile" if not hasattr(os, "sendfile") else _changed()
    if missing:
        logger.warning("files are sent through Python: %s", missing)
        return "auto"
    return ZeroCopyProtocol


def _changed() -> str:
    """What of Uvicorn isn't as this module needs it; "" if everything is."""
    start = inspect.signature(HttpToolsProtocol._start_asgi_task)
    if list(start.parameters) != ["self", "cycle", "app"]:
        return f"this Uvicorn starts requests another way: {start}"
    needed = {"scope", "transport", "disconnected", "chunked_encoding", "expected_content_length"}
    lacking = needed - set(RequestResponseCycle.__init__.__code__.co_names)
    return f"this Uvicorn's requests have no {', '.join(sorted(lacking))}" if lacking else ""


def _offering(cycle: RequestResponseCycle, app: ASGIApp) -> ASGIApp:
    async def offered(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_or_copy(message: Message) -> None:
            if message["type"] == STRETCH:
                stretch = _Stretch(message["file"], message.get("offset", 0), message["count"])
                await _send_stretch(cycle, stretch)
                if not message.get("more_body", False):
                    await send(_END)
            elif message["type"] == PATH:
                await _send_path(cycle, message["path"])
                await send(_END)
            else:
                await send(message)

        await app(
            {**scope, "extensions": {**scope.get("extensions", {}), STRETCH: {}, PATH: {}}}, receive, send_or_copy
        )

    return offered


class _Stretch:
    """What of an open file is still to be sent."""

    def __init__(self, file: FileIO, at: int, left: int) -> None:
        self.descriptor = file.fileno()
        self.at = at
        self.left = left

    def push(self, connection: int) -> None:
        """Send as much as the connection takes without waiting. Raises `EOFError` if the file ends too early."""
        while self.left:
            try:
                sent = os.sendfile(connection, self.descriptor, self.at, self.left)
            except BlockingIOError:
                return
            self._sent(sent)

    def read(self) -> bytes:
        """The next piece of it. Raises `EOFError`."""
        data = os.pread(self.descriptor, min(self.left, _PIECE), self.at)
        self._sent(len(data))
        return data

    def _sent(self, count: int) -> None:
        if not count:
            raise EOFError("a file became shorter while it was sent")
        self.at += count
        self.left -= count


async def _send_path(cycle: RequestResponseCycle, path: str) -> None:
    with await _in_thread(partial(FileIO, path)) as file:
        # As long as the answer's head has said.
        await _send_stretch(cycle, _Stretch(file, 0, cycle.expected_content_length))


async def _send_stretch(cycle: RequestResponseCycle, stretch: _Stretch) -> None:
    if cycle.scope["method"] == "HEAD" or cycle.disconnected or not stretch.left:
        return
    if cycle.chunked_encoding or stretch.left > cycle.expected_content_length:
        raise RuntimeError("files are sent in answers whose head says how long they are")
    cycle.expected_content_length -= stretch.left
    transport = cycle.transport
    if transport.get_write_buffer_size() or transport.get_extra_info("sslcontext"):
        # Something is to be sent before it, or it has to be encrypted.
        while stretch.left and not cycle.disconnected:
            piece = await _in_thread(stretch.read)
            cycle.expected_content_length += len(piece)
            await cycle.send({"type": "http.response.body", "body": piece, "more_body": True})
        return
    if transport.is_closing():
        return
    connection = os.dup(transport.get_extra_info("socket").fileno())
    try:
        while True:
            await _in_thread(partial(stretch.push, connection))
            if not stretch.left:
                return
            await _writable(connection)
    except ConnectionError:
        # As when Uvicorn itself finds nobody to send to: there is nobody to tell.
        transport.close()
    finally:
        os.close(connection)


async def _writable(connection: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(connection)


async def _in_thread(call: Callable[[], Result]) -> Result:
    """Its result; if this is cancelled, not before the call has ended."""
    future = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                continue
        raise
