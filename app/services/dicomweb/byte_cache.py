"""What was made for one request and may serve the next, up to a number of bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """The values that were used last, up to `max_bytes` together. Thread-safe; two threads may make the same value."""

    def __init__(self, max_bytes: int, size_of: Callable[[Value], int]) -> None:
        self._lock = threading.Lock()
        self._values: LRUCache[Hashable, Value] = LRUCache(max_bytes, getsizeof=size_of)

    def get(self, key: Hashable, make: Callable[[], Value], holds: Callable[[Value], bool] | None = None) -> Value:
        """The value of a key, made if it isn't there or doesn't hold any more.

        One larger than everything allowed is not kept.
        """
        with self._lock:
            found = self._values.get(key)
        if found is not None and (holds is None or holds(found)):
            return found
        value = make()
        with self._lock:
            self._values.pop(key, None)
            if self._values.getsizeof(value) <= self._values.maxsize:
                self._values[key] = value
        return value
