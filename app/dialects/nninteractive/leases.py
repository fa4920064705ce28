"""Client leases (docs/protocols/nninteractive.md, section 6): a client's right to one of the server's sessions.

Each has two timeouts. *Liveness*: any request restarts it, including heartbeats. *Idle*: only user actions restart it.
A lease doesn't expire while a request is being processed.

Lock: `_lock` guards the table and is held briefly; the content of a lease is never called under it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Held = TypeVar("Held")


class NoLease(Exception):
    """The lease is missing, unknown or expired."""


class AllInUse(Exception):
    """All sessions are in use."""


@dataclass(frozen=True)
class Terms:
    """`idle` and `liveness` in seconds; `sessions` at most at the same time."""

    idle: float
    liveness: float
    sessions: int


@dataclass(eq=False)
class _Lease(Generic[Held]):
    held: Held
    owner: str
    seen: float
    active: float
    busy: int = field(default=0)


class LeaseTable(Generic[Held]):
    """Leases by token. Thread-safe. `make` creates the content of a new lease from its token; `ended` is called once
    with the content of an ended lease, outside the lock. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        terms: Terms,
        make: Callable[[str], Held],
        ended: Callable[[Held], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.terms = terms
        self._make = make
        self._ended = ended
        self._clock = clock
        self._leases: dict[str, _Lease[Held]] = {}
        self._lock = threading.Lock()

    def claim(self, owner: str = "") -> str:
        """A new lease's token, which can't be guessed. Raises `AllInUse`."""
        self.sweep()  # expired leases are free at once
        token = secrets.token_hex(24)
        lease = _Lease(self._make(token), owner, seen=(now := self._clock()), active=now)
        with self._lock:
            if len(self._leases) >= self.terms.sessions:
                raise AllInUse(f"all {self.terms.sessions} sessions of this server are in use")
            self._leases[token] = lease
        return token

    def check(self, token: str | None) -> None:
        """Restart the liveness timeout. Raises `NoLease`."""
        self._found(token).seen = self._clock()

    @contextmanager
    def acting(self, token: str | None) -> Iterator[Held]:
        """What the lease holds, for something that a person did. Raises `NoLease`."""
        lease = self._found(token, busy=1)
        try:
            yield lease.held
        finally:
            with self._lock:
                lease.busy -= 1
                lease.seen = lease.active = self._clock()

    def remaining(self, token: str | None) -> float:
        """Seconds until the idle timeout. Restarts neither timeout. Raises `NoLease`."""
        return max(0.0, self._found(token).active + self.terms.idle - self._clock())

    def release(self, token: str | None) -> None:
        """End a lease. Idempotent."""
        with self._lock:
            lease = self._leases.pop(token or "", None)
        if lease is not None:
            self._ended(lease.held)

    def sweep(self) -> None:
        """End expired leases."""
        now = self._clock()
        with self._lock:
            over = [token for token, lease in self._leases.items() if self._is_over(lease, now)]
            leases = [self._leases.pop(token) for token in over]
        for lease in leases:
            self._ended(lease.held)

    def release_of(self, gone: Callable[[str], bool]) -> None:
        """End the leases of the owners who are `gone`."""
        with self._lock:
            tokens = [token for token, lease in self._leases.items() if gone(lease.owner)]
        for token in tokens:
            self.release(token)

    def release_all(self) -> None:
        with self._lock:
            tokens = list(self._leases)
        for token in tokens:
            self.release(token)

    def __len__(self) -> int:
        with self._lock:
            return len(self._leases)

    def _found(self, token: str | None, busy: int = 0) -> _Lease[Held]:
        if not token:
            raise NoLease("the lease token is missing")
        self.sweep()  # expired leases must not be used, even if no sweep came in time
        with self._lock:
            lease = self._leases.get(token)
            if lease is None:
                raise NoLease("the session is over or unknown; connect again")
            lease.busy += busy
            if busy:
                lease.seen = lease.active = self._clock()
        return lease

    def _is_over(self, lease: _Lease[Held], now: float) -> bool:
        if lease.busy:
            return False
        return now - lease.seen > self.terms.liveness or now - lease.active > self.terms.idle
