"""A lock that says who waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class CountingLock:
    """A lock that counts the threads that wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = threading.Lock()
        self._waiting = 0
        self._overtaking = 0

    @property
    def waiting(self) -> int:
        """How many threads wait in `acquire`."""
        return self._waiting

    @property
    def overtaking(self) -> bool:
        """Whether a thread waits for what the holder's work is in the way of."""
        return self._overtaking > 0

    @property
    def locked(self) -> bool:
        """Whether a thread holds the lock."""
        return self._lock.locked()

    def acquire(self, overtaking: bool = True) -> None:
        """Wait for the lock and take it."""
        with self._count:
            self._waiting += 1
            self._overtaking += overtaking
        try:
            self._lock.acquire()
        finally:
            with self._count:
                self._waiting -= 1
                self._overtaking -= overtaking

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for the block."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def try_acquire(self) -> bool:
        """Take the lock if it is free; False otherwise."""
        return self._lock.acquire(blocking=False)

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()
