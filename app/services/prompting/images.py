"""Images that viewers send to be segmented: voxels without a name, which become cases of their own.

The same voxels sent twice are one case, whoever sends them, so that two people's sessions on one image share it.

No click is answered before its image is in its place: what was answered, a kill can't take away. For that a file
needn't have reached the medium; it is flushed there by a thread that works when no other wants to. A power cut within
that second may leave a file that is too short: then the viewer is asked for the image once more, and it is written
anew.

Who unpacks an image can unpack it into its file (`space`): these are the pages that it takes in memory anyway. Other
images are written by a thread while the first click is computed, which takes 0.3 s for 300 slices.
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
"""How the ids of such cases begin."""


@dataclass(frozen=True)
class Stored:
    """How voxels are kept: in a type that volume files and models have; models compute in float32 anyway."""

    dtype: np.dtype[Any]
    header: bytes
    file_size: int

    @classmethod
    def of(cls, volume: Volume) -> Stored:
        """Raises `BadFile`."""
        dtype = _stored_type(volume.voxels.dtype)
        header = nifti_header_bytes(volume.geometry, dtype)
        return cls(dtype, header, len(header) + volume.voxels.size * dtype.itemsize)


@dataclass(eq=False)
class Space:
    """Room for voxels that come in. They lie in `file` already, or in plain memory (None). `taken` says that the file
    is somebody's; otherwise it goes."""

    voxels: NDArray[Any]
    file: Path | None = None
    taken: bool = False


@dataclass(frozen=True, eq=False)
class SentImage:
    """An image from a viewer. `placed` says that its geometry came with it, `space` where the voxels lie if
    `SentImages.space` gave it."""

    volume: Volume
    placed: bool
    space: Space | None = None


class SentImages:
    """Thread-safe. `_lock` guards the tables of what is being put in its place and what could not be, by the ids of
    cases; it is held for moments."""

    def __init__(self, project: Project, cases: CaseService) -> None:
        self._project = project
        self._cases = cases
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="sent-images")
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="flush-images", initializer=_behind_others)
        self._keeping: dict[str, Future[None]] = {}
        self._lost: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def space(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Iterator[Space]:
        """Room for an image's voxels, in C order, whatever is in it. Raises `OSError` if the disk has none."""
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
        """Begin to work out the name of an image, in a thread: about 0.1 s for 300 slices, in which a model can prepare
        the same image."""
        return self._threads.submit(_digest, volume)

    def admit(self, image: SentImage, digest: str) -> str:
        """The id of the case that these voxels are; it is there as soon as `ready` returns.

        Raises `BadFile` for voxels that can't be kept.
        """
        case_id = PREFIX + digest[:24]
        stored, space = Stored.of(image.volume), image.space
        with self._lock:
            self._lost.pop(case_id, None)
            if case_id not in self._keeping:
                here = self._here(case_id, stored)
                if here is not None:
                    self._cases.touch(here, self._project.settings.sessions.keep_seconds)
                else:
                    file = space.file if space is not None else None
                    self._keeping[case_id] = self._threads.submit(
                        self._keep, case_id, digest, image.volume, stored, file
                    )
                    if space is not None:
                        space.taken = True
        return case_id

    def ready(self, case_id: str) -> None:
        """Wait until an image that was admitted is where a kill doesn't take it away; others are there already.

        Raises `OSError` if it could not be kept, until it is admitted again.
        """
        with self._lock:
            keeping = self._keeping.get(case_id)
        if keeping is not None:
            keeping.result()
        with self._lock:
            lost = self._lost.get(case_id)
        if lost is not None:
            raise OSError(lost, "the image that the viewer sent could not be kept; open it again")

    def drain(self) -> None:
        """Wait for everything that is on its way to the disk, and end."""
        self._threads.shutdown()
        self._flusher.shutdown()

    def _here(self, case_id: str, stored: Stored) -> CaseRow | None:
        """The case, if the image is here and whole as far as its size tells."""
        try:
            row = self._cases.get(case_id)
            file = self._project.uploads.volume_file(row.case)
            return row if row.origin == "upload" and file.stat().st_size == stored.file_size else None
        except (UnknownCase, FileNotFoundError):
            return None

    def _keep(self, case_id: str, digest: str, volume: Volume, stored: Stored, mapped: Path | None) -> None:
        """Put an image in its place. `mapped` has its voxels already."""
        lost = None
        file = mapped or self._project.paths.incoming / f"{uuid.uuid4().hex}.nii"
        try:
            if mapped is None:
                _write(file, volume, stored)
            else:
                _write_header(file, stored)
            place = self._cases.add_sent(file, case_id, digest, self._project.settings.sessions.keep_seconds)
            self._flusher.submit(_flush, place)
        except Exception as error:
            # Its number only: an error knows where it came from, and so would keep the voxels in memory.
            lost = (isinstance(error, OSError) and error.errno) or errno.EIO
            logger.exception("an image that a viewer sent could not be kept")
            file.unlink(missing_ok=True)
        finally:
            with self._lock:
                del self._keeping[case_id]
                if lost is not None:
                    self._lost[case_id] = lost


def _stored_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" or dtype.itemsize > 4:
        return np.dtype("<f4")
    return dtype.newbyteorder("<")


def _behind_others() -> None:
    """Let the thread that flushes run when no other wants to."""
    if sys.platform == "linux":  # elsewhere a niceness is the whole process's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _mapped(file: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array that is what follows the header in a new file. Its blocks are the file's from the start: on a full disk
    this fails, and not a write to memory later. Raises `OSError`."""
    size = NIFTI_DATA_OFFSET + math.prod(shape) * dtype.itemsize
    with file.open("xb+") as stream:
        os.posix_fallocate(stream.fileno(), 0, size)
        pages = mmap.mmap(stream.fileno(), size)
    return np.frombuffer(pages, dtype, offset=NIFTI_DATA_OFFSET).reshape(shape)


def _write_header(file: Path, stored: Stored) -> None:
    with file.open("rb+") as stream:
        stream.write(stored.header)


def _write(file: Path, volume: Volume, stored: Stored) -> None:
    """Write an uncompressed NIfTI file, and flush nothing."""
    with file.open("xb") as stream:
        stream.write(stored.header)
        stream.write(np.ascontiguousarray(volume.voxels, stored.dtype).data)


def _flush(file: Path) -> None:
    try:
        for path in (file, *list(file.parents)[:3]):
            flush(path)
    except FileNotFoundError:
        return  # it was taken away meanwhile
    except OSError:
        logger.exception("an image that a viewer sent could not be flushed to disk")


def _digest(volume: Volume) -> str:
    digest = hashlib.sha256(f"{volume.voxels.dtype.str} {volume.geometry.shape}".encode())
    digest.update(volume.geometry.affine.tobytes())
    digest.update(np.ascontiguousarray(volume.voxels).data)
    return digest.hexdigest()
