"""Images that viewers send to be segmented: voxels without a name, which become cases of their own.

The same voxels sent twice are one case, whoever sends them, so that two people's sessions on one image share it. The
first click doesn't wait for the disk: a thread writes the image meanwhile, and whoever needs its file waits for that. A
kill within that second loses the image, and the viewer is asked to send it again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Volume
from app.dicom.volume_files import write_nifti
from app.errors import SegloopError
from app.learning.rooms import Rooms
from app.services.cases import CaseDesk

logger = logging.getLogger(__name__)

PREFIX = "sent-"
"""How the ids of such cases begin."""


class SentImages:
    """Thread-safe. `_lock` guards the table of what is being written and is held for moments."""

    def __init__(self, rooms: Rooms, cases: CaseDesk) -> None:
        self._rooms = rooms
        self._cases = cases
        self._digests = ThreadPoolExecutor(2, thread_name_prefix="digest")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="sent-images", initializer=_behind_others)
        self._writing: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def digest(self, volume: Volume) -> Future[str]:
        """Begin to work out the name of an image, in a thread: about 0.2 s for 300 slices, in which a model can prepare
        the same image."""
        return self._digests.submit(_digest, volume)

    def admit(self, volume: Volume, digest: str, who: str) -> str:
        """The id of the case that these voxels are; it is there as soon as `ready` returns."""
        case_id = PREFIX + digest[:24]
        with self._lock:
            if case_id not in self._writing:
                if self._rooms.catalog.cases.origin(case_id) == "upload" and self._is_here(case_id):
                    self._cases.touch(case_id, self._rooms.settings.sessions.keep_seconds)
                else:
                    self._writing[case_id] = self._writer.submit(self._keep, case_id, volume, who)
        return case_id

    def ready(self, case_id: str) -> None:
        """Wait until an image that was admitted is written. Raises what kept it from being written."""
        with self._lock:
            writing = self._writing.get(case_id)
        if writing is not None:
            writing.result()

    def settle(self) -> None:
        """Wait for everything that is being written, and end."""
        with self._lock:
            writing = list(self._writing.values())
        wait(writing)
        self._writer.shutdown()
        self._digests.shutdown()

    def _is_here(self, case_id: str) -> bool:
        try:
            return self._cases.get(case_id) is not None
        except SegloopError:
            return False

    def _keep(self, case_id: str, volume: Volume, who: str) -> None:
        try:
            with tempfile.TemporaryDirectory(dir=self._rooms.paths.incoming) as folder:
                file = Path(folder) / "image.nii"
                write_nifti(file, Volume(_storable(volume.voxels), volume.geometry, volume.modality))
                seconds = self._rooms.settings.sessions.keep_seconds
                self._cases.add_upload([(file, file.name)], case_id, who, seconds)
        except Exception:
            logger.exception("an image that a viewer sent could not be kept")
            raise
        finally:
            with self._lock:
                del self._writing[case_id]


def _behind_others() -> None:
    """Let the thread that writes run when no other wants to: the first click comes while it works."""
    if sys.platform == "linux":  # elsewhere a niceness is the whole process's
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _storable(voxels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Voxels in a type that volume files and models have; models compute in float32 anyway."""
    if voxels.dtype.kind == "b":
        return voxels.astype(np.uint8)
    if voxels.dtype.kind == "f" or voxels.dtype.itemsize > 4:
        return np.asarray(voxels, np.float32)
    return voxels


def _digest(volume: Volume) -> str:
    digest = hashlib.sha256(f"{volume.voxels.dtype.str} {volume.geometry.shape}".encode())
    digest.update(volume.geometry.affine.tobytes())
    digest.update(np.ascontiguousarray(volume.voxels).data)
    return digest.hexdigest()
