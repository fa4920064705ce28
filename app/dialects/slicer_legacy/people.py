"""Who is segmenting. This protocol has no session and no name, so a person is known by the path they use
(`/u/<name>/`), or on the bare path by their address.

Protocol: docs/protocols/slicer-legacy.md, section 2.

Two people behind one address would paint into one another's mask without knowing. The bare path therefore belongs to
one address at a time, and whoever comes second is told about names.

Lock: `_lock` guards the table and is held for moments.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from app.errors import Conflict


class People:
    """Thread-safe. After `idle` seconds without a request the bare path is anybody's again. `clock` is monotonic."""

    def __init__(self, idle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle = idle
        self._clock = clock
        self._refused: dict[str, str] = {}
        self._bare = ""
        self._used = 0.0
        self._lock = threading.Lock()

    def admitted(self, name: str, address: str) -> str:
        """The person. `name` is "" on the bare path. Raises `Conflict` for a second address on the bare path."""
        if name:
            return f"user {name}"
        with self._lock:
            self._admit(address)
        return f"address {address}"

    def refused(self, person: str) -> str:
        """Why the image that a person sent last was refused; "" if it wasn't."""
        with self._lock:
            return self._refused.get(person, "")

    def note(self, person: str, refused: str) -> None:
        """Remember what became of an image; "" if it was taken."""
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
