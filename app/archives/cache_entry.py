"""A cache entry: the files of one case.

    <key>.nii       uncompressed NIfTI-1: header, then the voxels in C order `(k, j, i)`; what is mapped into memory and
                    what viewers download
    <key>.headers   the instance headers: for each a length (8 bytes, little endian) and a Part 10 file without pixels
    <key>.json      the rest, with the checksums of all three; written last: without it there is no entry

The affine in the `.json` is exact; NIfTI's own is float32.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.archives.series_reader import EncodedHeaders, encoded
from app.core.archive import Fetched
from app.core.case import Case
from app.core.volume import Geometry, Volume
from app.errors import IntegrityError
from app.formats.volume_files import NIFTI_DATA_OFFSET, nifti_header_bytes

ENDINGS = (".json", ".nii", ".headers")
"""In the order in which an entry's files are removed."""
_LENGTH = struct.Struct("<Q")
_PIECE = 8 << 20


@dataclass(frozen=True, eq=False)
class Entry:
    """A case in the cache. `sha256` and `size` are those of the `.nii`."""

    path: Path
    geometry: Geometry
    dtype: np.dtype[np.generic]
    modality: str
    warnings: tuple[str, ...]
    sha256: str
    size: int
    headers_sha256: str

    @property
    def headers_path(self) -> Path:
        return self.path.with_suffix(".headers")

    def volume(self) -> Volume:
        """The volume, mapped read-only. Raises `OSError` if the file is gone."""
        mapped = np.memmap(self.path, self.dtype, "r", NIFTI_DATA_OFFSET, self.geometry.shape)
        return Volume(mapped.view(np.ndarray), self.geometry, self.modality, self.warnings)

    def headers(self) -> EncodedHeaders:
        """The instance headers. Raises `OSError` if they are gone, `IntegrityError` if they changed on disk."""
        data = self.headers_path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.headers_sha256:
            raise IntegrityError("the headers of a case have changed in the cache")
        headers = []
        at = 0
        while at < len(data):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            headers.append(data[at : at + length])
            at += length
        return EncodedHeaders(headers)

    def verify(self) -> None:
        """Read the whole `.nii`. Raises `OSError` if it is gone, `IntegrityError` if it changed on disk."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.sha256:
            raise IntegrityError("the voxels of a case have changed in the cache")


def write_entry(directory: Path, key: str, case: Case, fetched: Fetched) -> Entry:
    """Write a case under its final names. Raises `OSError`; without a `.json` there is no entry then."""
    volume = fetched.volume
    dtype = volume.voxels.dtype.newbyteorder("<")
    voxels = np.ascontiguousarray(volume.voxels, dtype)
    header = nifti_header_bytes(volume.geometry, dtype)
    final = directory / f"{key}.nii"
    with _directory_lock(directory, fcntl.LOCK_SH):
        with ThreadPoolExecutor(1) as hasher:
            pieces = [memoryview(header), voxels.reshape(-1).view(np.uint8).data]
            digest = hasher.submit(_digest, pieces)
            _write(final, pieces)
            headers = [piece for data in encoded(fetched.headers) for piece in _framed(data)]
            _write(final.with_suffix(".headers"), headers)
        entry = Entry(
            path=final,
            geometry=volume.geometry,
            dtype=dtype,
            modality=volume.modality,
            warnings=volume.warnings,
            sha256=digest.result(),
            size=len(header) + voxels.nbytes,
            headers_sha256=_digest(headers),
        )
        _write(final.with_suffix(".json"), [_description(entry, case)])
    return entry


def read_entry(directory: Path, key: str) -> Entry | None:
    """The entry as described on disk, None if there is none. Raises `IntegrityError` if the description is damaged."""
    path = directory / f"{key}.nii"
    try:
        document = json.loads(path.with_suffix(".json").read_bytes())
        body = document["entry"]
        if _body_digest(body) != document["sha256"]:
            raise IntegrityError("the description of a case has changed in the cache")
        return Entry(
            path=path,
            geometry=Geometry(tuple(body["shape"]), np.array(body["affine"], np.float64)),
            dtype=np.dtype(body["dtype"]),
            modality=body["modality"],
            warnings=tuple(body["warnings"]),
            sha256=body["sha256"],
            size=body["size"],
            headers_sha256=body["headers_sha256"],
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("the description of a case in the cache can't be read") from error


def needed_bytes(fetched: Fetched) -> int:
    """An estimate of an entry's size on disk."""
    return int(fetched.volume.voxels.nbytes) + 4096 * (1 + len(fetched.headers))


def remove_entry(directory: Path, key: str) -> None:
    """Remove an entry. Open files stay readable."""
    for ending in ENDINGS:
        (directory / f"{key}{ending}").unlink(missing_ok=True)


def remove_leftovers(directory: Path) -> None:
    """Remove what a killed process left: partial files, and files without a description.

    Entries that another process is writing look the same, so nothing is removed while there is one.
    """
    with _directory_lock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
        if not alone:
            return
        for path in directory.glob("*.tmp"):
            path.unlink(missing_ok=True)
        for ending in ENDINGS[1:]:
            for path in directory.glob(f"*{ending}"):
                if not path.with_suffix(".json").exists():
                    path.unlink(missing_ok=True)


@contextmanager
def _directory_lock(directory: Path, how: int) -> Iterator[bool]:
    """Hold a lock on the directory, which the kernel releases when the process ends (a PID file is unreliable:
    containers reuse PIDs). Yields False without a lock: another process holds it and `how` is non-blocking, or the file
    system doesn't support locks.
    """
    opened = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(opened, how)
        held = True
    except OSError:
        held = False
    try:
        yield held
    finally:
        os.close(opened)


def _write(path: Path, pieces: Iterable[memoryview | bytes]) -> None:
    """Write a temporary file and rename it. Without fsync: checksums detect what a power failure damages."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("wb", buffering=1 << 20) as file:
            for piece in pieces:
                file.write(piece)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _digest(pieces: Sequence[memoryview | bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        for at in range(0, len(piece), _PIECE):
            digest.update(piece[at : at + _PIECE])
    return digest.hexdigest()


def _framed(data: bytes) -> tuple[bytes, bytes]:
    return _LENGTH.pack(len(data)), data


def _description(entry: Entry, case: Case) -> bytes:
    body = {
        "case": case.id,
        "stamp": case.stamp,
        "shape": entry.geometry.shape,
        "affine": entry.geometry.affine.tolist(),
        "dtype": entry.dtype.str,
        "modality": entry.modality,
        "warnings": entry.warnings,
        "sha256": entry.sha256,
        "size": entry.size,
        "headers_sha256": entry.headers_sha256,
    }
    return json.dumps({"entry": body, "sha256": _body_digest(body)}).encode()


def _body_digest(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
