"""Sending files from the page cache to the client without copying them through Python.

ASGI has two extensions for this, "zero copy send" (a part of an open file) and "path send" (a whole file; Starlette's
`FileResponse` uses it if the server offers it). Uvicorn has neither. Sending half a megabyte from Python blocks the
event loop; here a thread of the loop's pool calls `sendfile`, which doesn't. While a slow client's socket buffer is
full, the event loop waits for it without occupying a thread.

The threads use a duplicate of the connection's file descriptor, which is closed only after `sendfile` has returned: if
the connection is closed meanwhile, its descriptor number may be reused, and the bytes must not go to another client.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Callable
from functools import partial
from io import FileIO
from typing import Any, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

logger = logging.getLogger(__name__)

STRETCH = "http.response.zerocopysend"
PATH = "http.response.pathsend"
_END: Message = {"type": "http.response.body", "body": b""}
_PIECE = 1 << 20

Result = TypeVar("Result")


MOST_HEAD_BYTES = 1 << 17
"""Bytes of a request's line and headers together."""

_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 24\r\nConnection: close\r\n\r\nthe headers are too long"
)


class HeadLimitedProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1 with a limit for the line and headers of a request: httptools keeps any number of them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes = self._field_bytes = 0
        self._in_head = True

    def data_received(self, data: bytes) -> None:
        # What was received before this piece: the piece may be the beginning of a body, too.
        if self._in_head and self._head_bytes > MOST_HEAD_BYTES:
            self._refuse_head()
            return
        self._head_bytes += len(data) if self._in_head else 0
        super().data_received(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field_bytes += len(name) + len(value)
        if self._field_bytes > MOST_HEAD_BYTES:
            raise ValueError("the headers are too long")
        super().on_header(name, value)

    def on_message_begin(self) -> None:
        self._field_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._field_bytes += len(url)
        super().on_url(url)

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._field_bytes > MOST_HEAD_BYTES:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _refuse_head(self) -> None:
        self.transport.write(_TOO_LONG)
        self.transport.close()


class ZeroCopyProtocol(HeadLimitedProtocol):
    """Uvicorn's HTTP/1.1 with both extensions. It relies on Uvicorn's private interface, which `protocol` checks
    first."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        super()._start_asgi_task(cycle, _offering(cycle, app))  # type: ignore[arg-type]


def protocol(wanted: bool = True) -> type[asyncio.Protocol]:
    """The HTTP protocol class for Uvicorn: with both extensions if they are wanted and supported here. Without them,
    files are sent through Python."""
    if not wanted:
        return HeadLimitedProtocol
    missing = "this system has no sendfile" if not hasattr(os, "sendfile") else _changed()
    if missing:
        logger.warning("files are sent through Python: %s", missing)
        return HeadLimitedProtocol
    return ZeroCopyProtocol


def _changed() -> str:
    """How Uvicorn's private interface differs from the one that this module needs; "" if it doesn't."""
    start = getattr(HttpToolsProtocol, "_start_asgi_task", None)
    if start is None or list(inspect.signature(start).parameters) != ["self", "cycle", "app"]:
        return "this Uvicorn starts requests another way"
    needed = {"scope", "transport", "disconnected", "chunked_encoding", "expected_content_length"}
    lacking = needed - set(RequestResponseCycle.__init__.__code__.co_names)
    return f"this Uvicorn's requests have no {', '.join(sorted(lacking))}" if lacking else ""


def _offering(cycle: RequestResponseCycle, app: ASGIApp) -> ASGIApp:
    async def offered(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_or_copy(message: Message) -> None:
            if message["type"] == STRETCH:
                part = _FilePart(message["file"], message.get("offset", 0), message["count"])
                await _send_part(cycle, part)
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


class _FilePart:
    """The part of an open file that is still to be sent."""

    def __init__(self, file: FileIO, at: int, left: int) -> None:
        self.descriptor = file.fileno()
        self.at = at
        self.left = left

    def push(self, connection: int) -> None:
        """Send as much as the socket accepts without blocking. Raises `EOFError` if the file ends too early."""
        while self.left:
            try:
                sent = os.sendfile(connection, self.descriptor, self.at, self.left)
            except BlockingIOError:
                return
            self._sent(sent)

    def read(self) -> bytes:
        """Read the next chunk. Raises `EOFError` if the file ends too early."""
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
        # The length is the one in the response's Content-Length.
        await _send_part(cycle, _FilePart(file, 0, cycle.expected_content_length))


async def _send_part(cycle: RequestResponseCycle, part: _FilePart) -> None:
    if cycle.scope["method"] == "HEAD" or cycle.disconnected or not part.left:
        return
    if cycle.chunked_encoding or part.left > cycle.expected_content_length:
        raise RuntimeError("files are sent in answers whose head says how long they are")
    cycle.expected_content_length -= part.left
    transport = cycle.transport
    if transport.get_write_buffer_size() or transport.get_extra_info("sslcontext"):
        # Buffered data has to be sent first, or the connection is encrypted.
        while part.left and not cycle.disconnected:
            piece = await _in_thread(part.read)
            cycle.expected_content_length += len(piece)
            await cycle.send({"type": "http.response.body", "body": piece, "more_body": True})
        return
    if transport.is_closing():
        return
    connection = os.dup(transport.get_extra_info("socket").fileno())
    try:
        while True:
            await _in_thread(partial(part.push, connection))
            if not part.left:
                return
            await _writable(connection)
    except ConnectionError:
        # The client has disconnected; Uvicorn ignores that too.
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
    """Run a call in the loop's thread pool. If cancelled, waits for the call to end before raising."""
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
