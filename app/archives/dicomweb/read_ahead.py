"""Receiving the next instance while the last one is decoded."""

from __future__ import annotations

import threading
from collections.abc import Generator
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

T = TypeVar("T")

_LOOK = 0.1
"""Seconds between two looks at whether the other side has gone."""


class ReadAhead(Generic[T]):
    """What a generator yields, taken from it by a thread of its own, at most `depth` items ahead.

    Raises what the generator raises. Close it when breaking off: the generator is then closed too, by its thread.
    """

    def __init__(self, source: Generator[T, None, None], depth: int) -> None:
        self._source = source
        self._items: Queue[tuple[T] | BaseException | None] = Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._pump, name="read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Generator[T, None, None]:
        while (item := self._items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    def close(self) -> None:
        """Break off, and wait until the generator is closed."""
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._items.get(timeout=_LOOK)
            except Empty:
                continue
        self._thread.join()

    def _pump(self) -> None:
        last: BaseException | None = None
        try:
            for item in self._source:
                if not self._put((item,)):
                    return
        except BaseException as error:  # handed to whoever reads
            last = error
        finally:
            self._source.close()
        self._put(last)

    def _put(self, item: tuple[T] | BaseException | None) -> bool:
        while not self._closed.is_set():
            try:
                self._items.put(item, timeout=_LOOK)
            except Full:
                continue
            return True
        return False
