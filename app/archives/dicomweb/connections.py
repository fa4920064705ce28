"""Connections to an archive whose answers end: in bytes, in seconds, and when the session is closed.

A timeout per read doesn't bound an answer that comes one byte at a time, in its headers or its body, and doesn't end
when the server stops. So every read and write of a connection goes by the `AnswerLimits` of its request, and all
sockets can be shut down at once.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from app.errors import ArchiveUnavailable


class AnswerLimits:
    """The limits of one exchange: what is sent at `slowest_rate` (bytes per second) at least, silence of `patience`
    seconds at most, then an answer of at most `max_bytes` bytes, complete `seconds` after its first byte.

    `place` names the archive in errors. Methods raise `ArchiveUnavailable`.
    """

    def __init__(
        self, place: str, *, patience: float, seconds: float, max_bytes: int, slowest_rate: float = 16_000.0
    ) -> None:
        self.max_bytes = max_bytes
        self._place, self._patience, self._seconds, self._rate = place, patience, seconds, slowest_rate
        self._begun = time.monotonic()
        self._first: float | None = None
        self._sent = self._received = 0

    def sent(self, count: int) -> None:
        """Count bytes of the request."""
        self._sent += count
        elapsed = time.monotonic() - self._begun
        if elapsed > self._patience and self._sent < elapsed * self._rate:
            raise ArchiveUnavailable(
                f"the archive at {self._place} takes only {self._sent / elapsed:.0f} bytes a second"
            )

    def patience(self) -> float:
        """Seconds that the next read may take."""
        if self._first is None:
            return self._patience
        left = self._first + self._seconds - time.monotonic()
        if left <= 0:
            raise ArchiveUnavailable(f"the archive at {self._place} didn't end its answer within {self._seconds:g} s")
        return min(left, self._patience)

    def received(self, count: int) -> None:
        """Count bytes of the answer, with its headers."""
        if self._first is None and count:
            self._first = time.monotonic()
        self._received += count
        self.check_size(self._received)

    def check_size(self, count: int) -> None:
        if count > self.max_bytes:
            raise ArchiveUnavailable(f"the archive at {self._place} answers with more than {self.max_bytes >> 20} MB")


class LimitedAdapter(HTTPAdapter):
    """Connections that go by `current()`, the limits of the request that this thread sends."""

    def __init__(self, current: Callable[[], AnswerLimits], **options: Any) -> None:
        self._current = current
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._ended = False
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """See `HTTPAdapter`."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._current, self._opened)

    def hang_up(self) -> None:
        """End all exchanges, those that are about to begin too: reads and writes that wait fail at once."""
        self._ended = True
        for one in list(self._sockets):
            _shut(one)

    def _opened(self, one: socket.socket) -> None:
        self._sockets.add(one)
        if self._ended:
            _shut(one)


def _shut(one: socket.socket) -> None:
    try:
        # Not the method of an SSLSocket, which isn't meant to be called while another thread reads.
        socket.socket.shutdown(one, socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already


def _pools(current: Callable[[], AnswerLimits], opened: Callable[[socket.socket], None]) -> dict[str, Any]:
    class Limited:
        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            opened(self.sock)  # type: ignore[attr-defined]

        def send(self, data: Any) -> None:
            super().send(data)  # type: ignore[misc]
            current().sent(len(data))

        def getresponse(self) -> Any:
            self.__dict__["response_class"] = partial(_LimitedResponse, current())
            return super().getresponse()  # type: ignore[misc]

    class Plain(Limited, HTTPConnection):
        pass

    class Encrypted(Limited, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


class _LimitedResponse(http.client.HTTPResponse):
    def __init__(self, limits: AnswerLimits, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        raw: Any = self.fp.detach()
        self.fp = io.BufferedReader(_LimitedReads(raw, sock, limits), 1 << 16)


class _LimitedReads(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, limits: AnswerLimits) -> None:
        self._raw, self._sock, self._limits = raw, sock, limits

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        self._sock.settimeout(self._limits.patience())
        try:
            count: int = self._raw.readinto(target) or 0
        except TimeoutError:
            self._limits.patience()  # says so if the whole answer took too long
            raise
        self._limits.received(count)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
