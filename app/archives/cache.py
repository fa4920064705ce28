"""The volume cache: volumes of cases on the local disk, fetched once and then memory-mapped."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cachetools import LRUCache

from app.archives.cache_entry import (
    ENDINGS,
    Entry,
    needed_bytes,
    read_entry,
    remove_entry,
    remove_leftovers,
    write_entry,
)
from app.core.archive import Archive, Fetched
from app.core.case import Case
from app.core.progress import Progress, ignore_progress
from app.core.volume import Volume
from app.errors import IntegrityError, ResourceExhausted

if TYPE_CHECKING:
    from pydicom import Dataset

HEADERS_KEPT = 8
"""How many cases' parsed headers stay in memory."""
ATTEMPTS = 3
WAIT_SECONDS = 0.5
WRITES_WAITING = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedFile:
    """A file that viewers download: uncompressed NIfTI. Open it soon: the cache may evict it later."""

    path: Path
    sha256: str
    size: int


@dataclass(frozen=True)
class CacheCounts:
    """Counters since the cache was opened, and its size in bytes. `uncached`: served without being cached."""

    hits: int = 0
    fetches: int = 0
    corrupt: int = 0
    evicted: int = 0
    uncached: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class _Trusted:
    """An entry that this process wrote or verified, and its file's size, time and inode then."""

    entry: Entry
    signature: tuple[int, int, int]


class VolumeCache:
    """Volumes, downloads and headers of an archive's cases.

    A file's checksum is verified when this process first uses it, and again only if its size, time or inode changes; a
    damaged file is fetched again and counted. The least recently used cases are evicted when `max_bytes` is reached;
    files that are mapped or open stay readable. If there is no space, a volume is served from memory only.

    A fetched volume is served from memory at once, while another thread writes it; callers that need the file wait for
    the write.

    Thread-safe. Lock order: one lock per case, held during a fetch, so concurrent requests share one fetch; then
    `_lock` for the tables, never held during I/O. Several processes may share a directory: files are renamed into place
    when they are complete.
    """

    def __init__(self, archive: Archive, directory: Path, max_bytes: int) -> None:
        self._archive, self._directory, self._max_bytes = archive, directory, max_bytes
        self._lock = threading.Lock()
        self._case_locks: dict[str, tuple[threading.Lock, int]] = {}
        self._trusted: dict[str, _Trusted] = {}
        self._headers: LRUCache[str, Sequence[Dataset]] = LRUCache(HEADERS_KEPT)
        self._counts = CacheCounts()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="cache")
        self._writing: dict[str, tuple[Fetched, Future[Entry | Fetched]]] = {}
        directory.mkdir(parents=True, exist_ok=True)
        remove_leftovers(directory)
        self._sizes = _sizes_by_use(directory)
        self._evict(0)

    @property
    def counts(self) -> CacheCounts:
        with self._lock:
            return replace(self._counts, bytes=sum(self._sizes.values()))

    def volume(self, case: Case, progress: Progress = ignore_progress) -> Volume:
        """The voxels, mapped read-only. Raises what `Archive.fetch` raises, and `ResourceExhausted`."""
        for _ in range(ATTEMPTS):
            found = self._obtain(case, progress)
            if isinstance(found, Fetched):
                return _read_only(found.volume)
            try:
                return found.volume()
            except OSError:
                # Evicted between being found and being opened.
                self._drop(_key(case))
        raise ResourceExhausted("the volume cache is too small for the images in use; increase cache.max_bytes")

    def nifti(self, case: Case, progress: Progress = ignore_progress) -> CachedFile:
        """The file that viewers download. Raises what `Archive.fetch` raises, and `ResourceExhausted`."""
        found = self._obtain(case, progress, on_disk=True)
        if isinstance(found, Fetched):
            raise ResourceExhausted("the disk or the volume cache is full, so the image can't be prepared for download")
        return CachedFile(found.path, found.sha256, found.size)

    def headers(self, case: Case, progress: Progress = ignore_progress) -> Sequence[Dataset]:
        """The instance headers in slice order, without pixel data; none for a volume file. Don't modify them.

        Raises what `Archive.fetch` raises, and `ResourceExhausted`.
        """
        key = _key(case)
        for _ in range(ATTEMPTS):
            with self._lock:
                kept = self._headers.get(key)
            if kept is not None:
                return kept
            found = self._obtain(case, progress)
            if isinstance(found, Fetched):
                return found.headers
            try:
                self._cache_headers(key, found.headers())
            except (OSError, IntegrityError):
                self._discard(key)
        raise ResourceExhausted("the volume cache is too small for the images in use; increase cache.max_bytes")

    def prefetch(self, case: Case, progress: Progress = ignore_progress) -> None:
        """Fetch a case ahead of time, in the caller's thread. Raises like `volume`."""
        self._obtain(case, progress, on_disk=True)

    def drain(self) -> None:
        """Wait for all pending writes."""
        with self._lock:
            writing = [written for _, written in self._writing.values()]
        wait(writing)

    def _obtain(self, case: Case, progress: Progress, *, on_disk: bool = False) -> Entry | Fetched:
        """The case from the cache, or from the archive. With `on_disk`, `Fetched` means that it can't be cached."""
        key = _key(case)
        with self._case_lock(key, progress):
            with self._lock:
                writing = self._writing.get(key)
            if writing is None:
                entry = self._load(key)
                if entry is not None:
                    self._record_use(key, hits=1)
                    return entry
                writing = self._fetch(key, case, progress)
        fetched, written = writing
        return written.result() if on_disk else fetched

    def _fetch(self, key: str, case: Case, progress: Progress) -> tuple[Fetched, Future[Entry | Fetched]]:
        self._wait_for_writes()
        try:
            fetched = self._archive.fetch(case, progress)
        except MemoryError as error:
            raise ResourceExhausted("there is not enough memory for this image") from error
        self._record_use(None, fetches=1)
        self._cache_headers(key, fetched.headers)
        with self._lock:
            written = self._writer.submit(self._write, key, case, fetched)
            self._writing[key] = fetched, written
        return fetched, written

    def _wait_for_writes(self) -> None:
        """Backpressure: volumes that wait to be written occupy memory."""
        with self._lock:
            writing = [written for _, written in self._writing.values()]
        if len(writing) >= WRITES_WAITING:
            wait(writing, return_when=FIRST_COMPLETED)

    def _write(self, key: str, case: Case, fetched: Fetched) -> Entry | Fetched:
        try:
            return self._store(key, case, fetched)
        finally:
            with self._lock:
                del self._writing[key]

    def _load(self, key: str) -> Entry | None:
        """The entry, if there is a valid one. A damaged one is removed and counted."""
        with self._lock:
            trusted = self._trusted.get(key)
        try:
            if trusted is not None and _signature(trusted.entry.path) == trusted.signature:
                return trusted.entry
            entry = read_entry(self._directory, key)
            if entry is None:
                return None
            signature = _signature(entry.path)
            entry.verify()
        except (IntegrityError, OSError) as error:
            _log.warning("a cached volume is damaged and will be fetched again: %s", type(error).__name__)
            self._discard(key)
            return None
        self._trust(key, entry, signature)
        return entry

    def _store(self, key: str, case: Case, fetched: Fetched) -> Entry | Fetched:
        needed = needed_bytes(fetched)
        if needed <= self._max_bytes:
            self._evict(needed)
            for _ in range(2):
                try:
                    entry = write_entry(self._directory, key, case, fetched)
                    self._trust(key, entry, _signature(entry.path))
                    return entry
                except OSError as error:
                    _log.warning("a volume can't be kept in the cache: %s", error.strerror)
                    remove_entry(self._directory, key)
                    if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._free_disk(needed):
                        break
        self._record_use(None, uncached=1)
        return fetched

    def _trust(self, key: str, entry: Entry, signature: tuple[int, int, int]) -> None:
        with self._lock:
            self._trusted[key] = _Trusted(entry, signature)
            self._sizes[key] = _size_on_disk(self._directory, key)
            self._sizes.move_to_end(key)

    def _cache_headers(self, key: str, headers: Sequence[Dataset]) -> None:
        with self._lock:
            self._headers[key] = headers

    def _record_use(self, key: str | None, *, hits: int = 0, fetches: int = 0, uncached: int = 0) -> None:
        with self._lock:
            counts = self._counts
            self._counts = replace(
                counts,
                hits=counts.hits + hits,
                fetches=counts.fetches + fetches,
                uncached=counts.uncached + uncached,
            )
            if key is not None and key in self._sizes:
                self._sizes.move_to_end(key)
        if key is not None:
            # The description never changes, so its modification time can keep the LRU order across restarts.
            try:
                os.utime(self._directory / f"{key}.json")
            except OSError:
                self._drop(key)

    def _discard(self, key: str) -> None:
        """Remove a damaged entry and count it."""
        self._drop(key)
        remove_entry(self._directory, key)
        with self._lock:
            self._counts = replace(self._counts, corrupt=self._counts.corrupt + 1)

    def _drop(self, key: str) -> None:
        with self._lock:
            self._trusted.pop(key, None)
            self._sizes.pop(key, None)
            self._headers.pop(key, None)

    def _evict(self, needed: int) -> None:
        """Evict the least recently used entries until `needed` more bytes are within the limit."""
        while True:
            with self._lock:
                if not self._sizes or sum(self._sizes.values()) + needed <= self._max_bytes:
                    return
            self._evict_one()

    def _free_disk(self, needed: int) -> bool:
        """Evict entries to free `needed` bytes of disk; False if there was nothing to evict."""
        freed = 0
        while freed < needed:
            size = self._evict_one()
            if size == 0:
                break
            freed += size
        return freed > 0

    def _evict_one(self) -> int:
        """Evict the least recently used entry. Returns its size, 0 if there is none."""
        with self._lock:
            if not self._sizes:
                return 0
            key, size = self._sizes.popitem(last=False)
            self._trusted.pop(key, None)
            self._counts = replace(self._counts, evicted=self._counts.evicted + 1)
        remove_entry(self._directory, key)
        return max(size, 1)

    @contextmanager
    def _case_lock(self, key: str, progress: Progress) -> Iterator[None]:
        """Hold the lock of a case. Waiting can be cancelled through `progress`."""
        with self._lock:
            lock, users = self._case_locks.get(key, (threading.Lock(), 0))
            self._case_locks[key] = (lock, users + 1)
        try:
            while not lock.acquire(timeout=WAIT_SECONDS):
                progress(0.0, "waiting for another request that reads this image")
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._lock:
                lock, users = self._case_locks.pop(key)
                if users > 1:
                    self._case_locks[key] = (lock, users - 1)


def _read_only(volume: Volume) -> Volume:
    voxels = volume.voxels.view()
    voxels.flags.writeable = False
    return replace(volume, voxels=voxels)


def _key(case: Case) -> str:
    return hashlib.sha256(f"{case.id}\n{case.stamp}".encode()).hexdigest()[:32]


def _signature(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _size_on_disk(directory: Path, key: str) -> int:
    total = 0
    for ending in ENDINGS:
        try:
            total += (directory / f"{key}{ending}").stat().st_size
        except FileNotFoundError:
            continue
    return total


def _sizes_by_use(directory: Path) -> OrderedDict[str, int]:
    """The sizes of the entries in the cache, least recently used first."""
    used = []
    for path in directory.glob("*.json"):
        with suppress(FileNotFoundError):  # another process may evict entries
            used.append((path.stat().st_mtime_ns, path.stem))
    return OrderedDict((key, _size_on_disk(directory, key)) for _, key in sorted(used))
