"""What was made for one request and may serve the next, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """The values that were used last, up to `max_bytes` together. Thread-safe; two threads may make the same value."""

    def __init__(self, max_bytes: int, size_of: Callable[[Value], int]) -> None:
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, make: Callable[[], Value], holds: Callable[[Value], bool] | None = None) -> Value:
        """The value of a key, made if it isn't there or doesn't hold any more.

        One larger than everything allowed is not kept.
        """
        with self._lock:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
        if found is not None and (holds is None or holds(found[0])):
            return found[0]
        value = make()
        size = self._size_of(value)
        with self._lock:
            _, freed = self._values.pop(key, (None, 0))
            self._bytes -= freed
            if size <= self._max_bytes:
                self._values[key] = (value, size)
                self._bytes += size
                while self._bytes > self._max_bytes:
                    _, (_, freed) = self._values.popitem(last=False)
                    self._bytes -= freed
        return value
