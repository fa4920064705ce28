"""Volume files, NIfTI, NRRD and MetaImage -> a Volume, without an imaging library.

Libraries trust a header: 77 bytes that declare 2048 x 2048 x 2500 voxels make them allocate 20 GB, and they read any
file that a header names. Here the header is checked first, and then exactly the declared number of bytes is read, or
inflated as a stream.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
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
    "read_data",
    "read_header",
    "read_volume",
    "write_nifti",
    "write_nifti_layers",
]

_CHUNK = 1 << 20


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
    return Volume(_scaled(read_data(path, header), header.slope, header.intercept), header.geometry)


def read_data(path: Path, header: VolumeHeader) -> NDArray[Any]:
    """The stored values, of shape `header.data_shape`, in native byte order. Raises `BadFile`."""
    data = np.empty(header.data_bytes, np.uint8)
    with path.open("rb") as file:
        try:
            _fill(data.data, file, header)
        except (zlib.error, OSError) as error:
            raise BadFile(f"the {header.format} file's voxels can't be read ({type(error).__name__})") from error
    values = data.view(header.dtype).reshape(header.data_shape)
    return values.astype(header.dtype.newbyteorder("="), copy=False)


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


def _fill(data: memoryview, file: BinaryIO, header: VolumeHeader) -> None:
    """Read or inflate exactly `len(data)` bytes, and check that there are no more."""
    file.seek(0 if header.inside else header.offset)
    if header.encoding == "raw":
        count = 0
        while count < len(data) and (read := file.readinto(data[count:])):  # type: ignore[attr-defined]
            count += read
        more = bool(file.read(1))
    else:
        gzipped = header.encoding == "gzip"
        stream = InflatedFile(file, GZIP if gzipped else ZLIB, members=gzipped)
        if header.inside:
            stream.skip(header.offset)
        count = stream.read_into(data)
        more = stream.has_more()
        if not more and not stream.complete:
            raise BadFile(f"the {header.format} file's compressed voxels were cut off")
    if count < len(data) or more:
        raise BadFile(
            f"the {header.format} file declares {len(data)} bytes of voxels and has"
            f" {'more' if more else count}; it is damaged or was cut off"
        )


def _scaled(values: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    """`values * slope + intercept`: integers where that is exact and fits 32 bits, else float32 (float64 stays)."""
    if (slope, intercept) == (1.0, 0.0):
        return values
    if values.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer() and values.dtype.itemsize <= 4:
        ends = [int(end) * int(slope) + int(intercept) for end in (values.min(), values.max())]
        for dtype in (np.int16, np.int32):
            if np.iinfo(dtype).min <= min(ends) and max(ends) <= np.iinfo(dtype).max:
                return (values.astype(np.int64) * int(slope) + int(intercept)).astype(dtype)
    scaled = values.astype(np.float64) * slope + intercept
    return scaled if values.dtype == np.float64 else scaled.astype(np.float32)
