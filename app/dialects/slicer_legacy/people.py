"""The user of a request. This protocol has neither sessions nor names, so users are identified by their path
(`/u/<name>/`), or without that prefix by their network address.

Protocol: docs/protocols/slicer-legacy.md, section 2.

Two users without a prefix could unknowingly work on the same mask. So the path without a prefix belongs to one address
at a time; a second one gets an error that explains the prefix.

Lock: `_lock` guards the table and is held briefly.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from app.errors import Conflict


class People:
    """Thread-safe. After `idle` seconds without a request, the path without a prefix is free again. `clock` is
    monotonic."""

    def __init__(self, idle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle = idle
        self._clock = clock
        self._refused: dict[str, str] = {}
        self._bare = ""
        self._used = 0.0
        self._lock = threading.Lock()

    def admitted(self, name: str, address: str) -> str:
        """The user. `name` is "" without a prefix. Raises `Conflict` for a second address without a prefix."""
        if name:
            return f"user {name}"
        with self._lock:
            self._admit(address)
        return f"address {address}"

    def refused(self, person: str) -> str:
        """Why a user's last image was rejected; "" if it wasn't."""
        with self._lock:
            return self._refused.get(person, "")

    def note(self, person: str, refused: str) -> None:
        """Record why an image was rejected; "" if it was accepted."""
        with self._lock:
            self._refused.pop(person, None)
            if refused:
                self._refused[person] = refused

    def _admit(self, address: str) -> None:
        now = self._clock()
        if self._bare not in ("", address) and now - self._used <= self._idle:
            raise Conflict(
                "Somebody else is using this server under the same address. Add your name to the server's address,"
                " for example http://server:1527/u/ana, so that your work and theirs are kept apart."
            )
        self._bare, self._used = address, now
