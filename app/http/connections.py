"""Noticing that a client has closed its connection, whatever the dialect and whether its endpoint is async or not.

A connection counts as closed when the server's end of it is: the client may have gone, or a proxy in front of the
server has, for it or on its own account. Nobody can be answered any more in either case.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.connection import current_connection


class Connections:
    """ASGI middleware: makes each request's connection known to what works on it (`app.core.connection`)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = WatchedConnection(receive)
        reset = current_connection.set(connection)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # The server stops and has waited long enough. What works on the request has a thread of its own, and goes
            # on until it notices.
            connection.close()
            raise
        finally:
            current_connection.reset(reset)
            connection.leave()


class WatchedConnection:
    """One request's connection. Create it and call `leave` on the event loop; the rest is thread-safe.

    Nothing is received before `watch` is called: until then the endpoint may still read the body, and most requests
    never need to be watched.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._watcher: asyncio.Task[None] | None = None
        self._left = False
        self._closed = False

    @property
    def closed(self) -> bool:
        """See `Connection.closed`."""
        return self._closed

    def watch(self) -> None:
        """See `Connection.watch`. Call it only once the endpoint has the whole body."""
        if self._watcher is None:
            self._loop.call_soon_threadsafe(self._start)

    def close(self) -> None:
        """Count the connection as closed, whatever its client does."""
        self._closed = True

    def leave(self) -> None:
        """Stop watching: the request was answered."""
        self._left = True
        if self._watcher is not None:
            self._watcher.cancel()

    def _start(self) -> None:
        if self._watcher is None and not self._left:
            self._watcher = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        # A request without a body still has one empty message to be received.
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._closed = True
