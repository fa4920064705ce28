"""The connection of the request that is being worked on: whether its client still waits for the answer.

Set once per request (`app.http.connections`), and read by whatever works on it, in the request's own thread.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class Connection(Protocol):
    """A client's connection. Thread-safe."""

    @property
    def closed(self) -> bool:
        """Whether the connection is known to be closed. Always false until it is watched."""

    def watch(self) -> None:
        """Notice from now on when the connection is closed."""


class NoConnection:
    """Of work that no request waits for: scripts, tests, background work. Never closed."""

    @property
    def closed(self) -> bool:
        """See `Connection.closed`."""
        return False

    def watch(self) -> None:
        """See `Connection.watch`."""


_NONE = NoConnection()

current_connection: ContextVar[Connection] = ContextVar("current_connection", default=_NONE)
