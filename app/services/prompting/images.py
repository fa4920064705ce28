"""Images that viewers send to be segmented: voxels without an id, stored as cases of their own.

The case's id is a digest of the voxels: the same image sent twice, by whomever, is one case.

Durability: no click is answered before its image's file is in the upload store, so a killed process loses no answered
click. The file needn't be on the medium by then; a thread of low priority flushes it. A power cut before that may leave
a truncated file: then the viewer is asked to send the image again, and the file is replaced.

A dialect can decompress an image directly into its memory-mapped file (`space`), which takes no extra memory. Other
images are written by a thread during the first prediction (about 0.3 s for 300 slices).
"""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import mmap
import os
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.case import CaseRow
from app.core.volume import Volume
from app.durable import flush
from app.errors import UnknownCase
from app.formats.volume_files import NIFTI_DATA_OFFSET, nifti_header_bytes
from app.project.project import Project
from app.services.cases import CaseService

logger = logging.getLogger(__name__)

PREFIX = "sent-"
"""The prefix of the ids of such cases."""


@dataclass(frozen=True)
class Stored:
    """How voxels are stored: in a type that NIfTI files support; wider types become float32, which models use anyway.
    `file_size` is in bytes."""

    dtype: np.dtype[Any]
    header: bytes
    file_size: int

    @classmethod
    def of(cls, volume: Volume) -> Stored:
        """The format for a volume. Raises `BadFile` for voxels that a NIfTI file can't hold."""
        dtype = _stored_type(volume.voxels.dtype)
        header = nifti_header_bytes(volume.geometry, dtype)
        return cls(dtype, header, len(header) + volume.voxels.size * dtype.itemsize)


@dataclass(eq=False)
class Space:
    """A buffer for incoming voxels, mapped to `file` or in plain memory (None). `taken` is set once `SentImages` owns
    the file; otherwise the file is deleted when the block ends."""

    voxels: NDArray[Any]
    file: Path | None = None
    taken: bool = False


@dataclass(frozen=True, eq=False)
class SentImage:
    """An image from a viewer. `placed` says that the viewer sent its geometry; `space` is the buffer of the voxels if
    it is from `SentImages.space`."""

    volume: Volume
    placed: bool
    space: Space | None = None


class SentImages:
    """Stores sent images. Thread-safe. `_lock` guards the tables of writes in progress and of failed writes (errno), by
    case id, and is held briefly."""

    def __init__(self, project: Project, cases: CaseService) -> None:
        self._project = project
        self._cases = cases
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="sent-images")
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="flush-images", initializer=_lower_priority)
        self._writing: dict[str, Future[None]] = {}
        self._failed: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def space(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Iterator[Space]:
        """An uninitialised buffer for an image's voxels, in C order. Raises `OSError` if the disk is full."""
        if dtype != _stored_type(dtype) or not hasattr(os, "posix_fallocate"):
            yield Space(np.empty(shape, dtype))
            return
        file = self._project.paths.incoming / f"{uuid.uuid4().hex}.nii"
        space = None
        try:
            space = Space(_mapped(file, shape, dtype), file)
            yield space
        finally:
            if space is None or not space.taken:
                file.unlink(missing_ok=True)

    def digest(self, volume: Volume) -> Future[str]:
        """Start computing an image's digest in a thread (about 0.1 s for 300 slices), while a model prepares the same
        image."""
        return self._threads.submit(_digest, volume)

    def admit(self, image: SentImage, digest: str) -> str:
        """Start storing an image, unless it is stored already; returns its case id. `wait_stored` waits for the write.

        Raises `BadFile` for voxels that can't be stored.
        """
        case_id = PREFIX + digest[:24]
        stored, space = Stored.of(image.volume), image.space
        with self._lock:
            self._failed.pop(case_id, None)
            if case_id not in self._writing:
                existing = self._existing(case_id, stored)
                if existing is not None:
                    self._cases.touch(existing, self._project.settings.sessions.keep_seconds)
                else:
                    file = space.file if space is not None else None
                    self._writing[case_id] = self._threads.submit(
                        self._store, case_id, digest, image.volume, stored, file
                    )
                    if space is not None:
                        space.taken = True
        return case_id

    def wait_stored(self, case_id: str) -> None:
        """Wait until an admitted image is in the upload store; returns at once for any other case.

        Raises `OSError` if it couldn't be stored; admitting it again clears that.
        """
        with self._lock:
            writing = self._writing.get(case_id)
        if writing is not None:
            writing.result()
        with self._lock:
            failed = self._failed.get(case_id)
        if failed is not None:
            raise OSError(failed, "the image that the viewer sent could not be kept; open it again")

    def drain(self) -> None:
        """Wait for pending writes and flushes, and stop the threads."""
        self._threads.shutdown()
        self._flusher.shutdown()

    def _existing(self, case_id: str, stored: Stored) -> CaseRow | None:
        """The case, if the image is stored and its file has the right size."""
        try:
            row = self._cases.get(case_id)
            file = self._project.uploads.volume_file(row.case)
            return row if row.origin == "upload" and file.stat().st_size == stored.file_size else None
        except (UnknownCase, FileNotFoundError):
            return None

    def _store(self, case_id: str, digest: str, volume: Volume, stored: Stored, mapped: Path | None) -> None:
        """Write an image and move it into the upload store. A `mapped` file has the voxels already."""
        failed = None
        file = mapped or self._project.paths.incoming / f"{uuid.uuid4().hex}.nii"
        try:
            if mapped is None:
                _write(file, volume, stored)
            else:
                _write_header(file, stored)
            place = self._cases.add_sent(file, case_id, digest, self._project.settings.sessions.keep_seconds)
            self._flusher.submit(_flush, place)
        except Exception as error:
            # Only the errno is kept: the exception's traceback would keep the voxels in memory.
            failed = (isinstance(error, OSError) and error.errno) or errno.EIO
            logger.exception("an image that a viewer sent could not be kept")
            file.unlink(missing_ok=True)
        finally:
            with self._lock:
                del self._writing[case_id]
                if failed is not None:
                    self._failed[case_id] = failed


def _stored_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" or dtype.itemsize > 4:
        return np.dtype("<f4")
    return dtype.newbyteorder("<")


def _lower_priority() -> None:
    """Give the flushing thread a low scheduling priority."""
    if sys.platform == "linux":  # elsewhere the nice value is per process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _mapped(file: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array mapped to the data part of a new file. Disk blocks are allocated here, so that a full disk raises
    `OSError` now, and not SIGBUS at a later write to the array."""
    size = NIFTI_DATA_OFFSET + math.prod(shape) * dtype.itemsize
    with file.open("xb+") as stream:
        os.posix_fallocate(stream.fileno(), 0, size)
        pages = mmap.mmap(stream.fileno(), size)
    return np.frombuffer(pages, dtype, offset=NIFTI_DATA_OFFSET).reshape(shape)


def _write_header(file: Path, stored: Stored) -> None:
    with file.open("rb+") as stream:
        stream.write(stored.header)


def _write(file: Path, volume: Volume, stored: Stored) -> None:
    """Write an uncompressed NIfTI file, without flushing it."""
    with file.open("xb") as stream:
        stream.write(stored.header)
        stream.write(np.ascontiguousarray(volume.voxels, stored.dtype).data)


def _flush(file: Path) -> None:
    try:
        for path in (file, *list(file.parents)[:3]):
            flush(path)
    except FileNotFoundError:
        return  # deleted meanwhile
    except OSError:
        logger.exception("an image that a viewer sent could not be flushed to disk")


def _digest(volume: Volume) -> str:
    digest = hashlib.sha256(f"{volume.voxels.dtype.str} {volume.geometry.shape}".encode())
    digest.update(volume.geometry.affine.tobytes())
    digest.update(np.ascontiguousarray(volume.voxels).data)
    return digest.hexdigest()
