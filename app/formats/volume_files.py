"""Volume files, NIfTI, NRRD and MetaImage -> a Volume, without an imaging library.

Libraries trust a header: 77 bytes that declare 2048 x 2048 x 2500 voxels make them allocate 20 GB, and they read any
file that a header names. Here the header is checked first, and then exactly the declared number of bytes is read, or
inflated as a stream.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Geometry, Volume
from app.errors import BadFile
from app.formats import metaimage, nifti, nrrd
from app.formats.inflate import GZIP, ZLIB, InflatedFile
from app.formats.nifti import NIFTI_DATA_OFFSET, nifti_header_bytes
from app.formats.volume_header import DEFAULT_MAX_BYTES, VolumeHeader, check_sizes

__all__ = [
    "NIFTI_DATA_OFFSET",
    "nifti_header_bytes",
    "read_beginning",
    "read_data",
    "read_header",
    "read_volume",
    "write_nifti",
    "write_nifti_layers",
]

_CHUNK = 1 << 20
_PART = 1 << 18
"""Voxels that are scaled at a time."""


def read_header(path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> VolumeHeader:
    """The checked header of a volume file, whose format is recognized by content. `max_bytes` limits the voxels.

    Raises `BadFile`: unknown or detached format, sizes that are too large or impossible for the file.
    """
    try:
        with path.open("rb") as file:
            header = _parse(file)
    except OSError as error:
        raise BadFile(f"the file can't be read ({type(error).__name__})") from error
    check_sizes(header, path.stat().st_size, max_bytes)
    return header


def read_volume(path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> Volume:
    """The voxels of a volume file, scaled by its header, in native byte order; NaN is kept.

    Raises `BadFile`, also for a fourth dimension and for data longer or shorter than declared.
    """
    header = read_header(path, max_bytes)
    if header.layers > 1:
        raise BadFile(f"the {header.format} file holds {header.layers} volumes (time points?); one is needed")
    with _readable(path, header) as voxels:
        return Volume(_read_scaled(voxels, header), header.geometry)


def read_data(path: Path, header: VolumeHeader) -> NDArray[Any]:
    """The stored values, of shape `header.data_shape`, in native byte order. Raises `BadFile`."""
    with _readable(path, header) as voxels:
        return _read_stored(voxels, header).reshape(header.data_shape)


def read_beginning(path: Path, header: VolumeHeader, count: int) -> NDArray[Any]:
    """The first `count` voxel values in a row, scaled by the header, float64; only they are read. Raises `BadFile`."""
    stored = np.empty(min(count * header.dtype.itemsize, header.data_bytes), np.uint8)
    with _readable(path, header) as voxels:
        voxels.fill(stored.data)
    return stored.view(header.dtype).astype(np.float64) * header.slope + header.intercept


def write_nifti(file: Path | BinaryIO, volume: Volume, *, compress: bool = False) -> None:
    """Write a NIfTI-1 file; see `nifti_header_bytes`.

    Uncompressed, the voxels lie at `NIFTI_DATA_OFFSET` in C order `(k, j, i)`, little endian, to be memory-mapped.
    """
    write_nifti_layers(file, [volume.voxels], volume.geometry, compress=compress)


def write_nifti_layers(
    file: Path | BinaryIO, layers: Sequence[NDArray[np.generic]], geometry: Geometry, *, compress: bool = False
) -> None:
    """`write_nifti` for arrays `(k, j, i)` of one type along a fourth dimension; without one for a single array."""
    dtype = layers[0].dtype if layers[0].dtype != bool else np.dtype(np.uint8)
    header = nifti_header_bytes(geometry, dtype, len(layers))
    with file.open("wb") if isinstance(file, Path) else nullcontext(file) as target:
        # No name and time in the stream, so that equal voxels make equal files.
        sink = gzip.GzipFile("", "wb", compresslevel=1, fileobj=target, mtime=0) if compress else nullcontext(target)
        with sink as stream:
            stream.write(header)
            for layer in layers:
                stream.write(np.ascontiguousarray(layer, dtype.newbyteorder("<")).data)


def _parse(file: BinaryIO) -> VolumeHeader:
    head = file.read(nifti.MAX_HEADER)
    if head.startswith(b"\x1f\x8b"):
        inflated = _inflated_head(head + file.read(_CHUNK))
        if nifti.is_nifti(inflated):
            return nifti.parse_nifti(inflated, inside=True)
        raise BadFile("the compressed file is not a NIfTI file")
    if head[128:132] == b"DICM":
        raise BadFile("this is a DICOM file, not a volume file")
    if nifti.is_nifti(head):
        return nifti.parse_nifti(head, inside=False)
    if nrrd.is_nrrd(head):
        return nrrd.parse_nrrd(head + file.read(nrrd.MAX_HEADER))
    if metaimage.is_metaimage(head):
        return metaimage.parse_metaimage(head + file.read(metaimage.MAX_HEADER))
    raise BadFile("the file is not a NIfTI (.nii, .nii.gz), NRRD (.nrrd) or MetaImage (.mha) file")


def _inflated_head(compressed: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=GZIP).decompress(compressed, nifti.MAX_HEADER)
    except zlib.error as error:
        raise BadFile("the compressed file is damaged") from error


@contextmanager
def _readable(path: Path, header: VolumeHeader) -> Iterator[_Voxels]:
    with path.open("rb") as file:
        try:
            yield _Voxels(file, header)
        except (zlib.error, OSError) as error:
            raise BadFile(f"the {header.format} file's voxels can't be read ({type(error).__name__})") from error


class _Voxels:
    """The bytes of the voxels in a file, inflated as far as they are read."""

    def __init__(self, file: BinaryIO, header: VolumeHeader) -> None:
        self._file, self._header = file, header
        self._count = 0
        file.seek(0 if header.inside else header.offset)
        self._stream: InflatedFile | None = None
        if header.encoding != "raw":
            gzipped = header.encoding == "gzip"
            self._stream = InflatedFile(file, GZIP if gzipped else ZLIB, members=gzipped)
            if header.inside:
                self._stream.skip(header.offset)

    def fill(self, target: memoryview) -> None:
        """Read exactly `len(target)` bytes. Raises `BadFile` if there are fewer."""
        count = 0
        if self._stream is not None:
            count = self._stream.read_into(target)
        else:
            while count < len(target) and (read := self._file.readinto(target[count:])):  # type: ignore[attr-defined]
                count += read
        self._count += count
        if count < len(target):
            self._check_complete()
            raise self._wrong_length(str(self._count))

    def finish(self) -> None:
        """Check that there are no more bytes. Raises `BadFile`."""
        if self._stream.has_more() if self._stream is not None else self._file.read(1):
            raise self._wrong_length("more")
        self._check_complete()

    def _check_complete(self) -> None:
        if self._stream is not None and not self._stream.complete:
            raise BadFile(f"the {self._header.format} file's compressed voxels were cut off")

    def _wrong_length(self, found: str) -> BadFile:
        return BadFile(
            f"the {self._header.format} file declares {self._header.data_bytes} bytes of voxels and has {found};"
            " it is damaged or was cut off"
        )


def _read_stored(voxels: _Voxels, header: VolumeHeader) -> NDArray[Any]:
    """All stored values in one row, in native byte order."""
    data = np.empty(header.data_bytes, np.uint8)
    voxels.fill(data.data)
    voxels.finish()
    return _native(data.view(header.dtype))


def _native(values: NDArray[Any]) -> NDArray[Any]:
    """The same array in native byte order; its bytes are swapped in place."""
    native = values.dtype.newbyteorder("=")
    return values if values.dtype == native else values.byteswap(inplace=True).view(native)


def _read_scaled(voxels: _Voxels, header: VolumeHeader) -> NDArray[Any]:
    """`stored * slope + intercept`, `(k, j, i)`: integers where that is exact and fits 32 bits, else float32 (float64
    stays). Besides the result, only stored integers are ever whole in memory: what is computed in 64 bits isn't."""
    slope, intercept = header.slope, header.intercept
    if (slope, intercept) == (1.0, 0.0):
        return _read_stored(voxels, header).reshape(header.geometry.shape)
    if header.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer() and header.dtype.itemsize <= 4:
        stored = _read_stored(voxels, header)
        whole = _whole_numbers(stored, int(slope), int(intercept))
        if whole is None:
            whole = np.empty(stored.size, np.float32)
            for part in _parts(stored.size):
                whole[part] = stored[part].astype(np.float64) * slope + intercept
        return whole.reshape(header.geometry.shape)
    native = header.dtype.newbyteorder("=")
    scaled = np.empty(header.geometry.voxel_count, np.float64 if native == np.float64 else np.float32)
    for part in _parts(scaled.size):
        piece = np.empty((part.stop - part.start) * native.itemsize, np.uint8)
        voxels.fill(piece.data)
        scaled[part] = _native(piece.view(header.dtype)).astype(np.float64) * slope + intercept
    voxels.finish()
    return scaled.reshape(header.geometry.shape)


def _whole_numbers(stored: NDArray[Any], slope: int, intercept: int) -> NDArray[Any] | None:
    """Integers `stored * slope + intercept` in the smaller of int16 and int32 that holds them; None if neither does."""
    ends = [int(end) * slope + intercept for end in (stored.min(), stored.max())]
    for dtype in (np.int16, np.int32):
        limits = np.iinfo(dtype)
        # The factors have to fit too: of an image of zeros, any slope would do.
        if limits.min <= min(ends) and max(ends) <= limits.max and max(abs(slope), abs(intercept)) < 1 << 62:
            scaled = np.empty(stored.size, dtype)
            for part in _parts(stored.size):
                scaled[part] = stored[part].astype(np.int64) * slope + intercept
            return scaled
    return None


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _PART, count)) for start in range(0, count, _PART))
