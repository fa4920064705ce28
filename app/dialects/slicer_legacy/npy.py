"""Untrusted NPY files (numpy's format, versions 1 and 2): the header is validated before anything is allocated, and
nothing is unpickled."""

from __future__ import annotations

import io
import math
import tokenize
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from app.core.volume import Index
from app.errors import BadFile

_HEADER_BYTES = 4096
"""Larger than any header of a numeric array; numpy pads them to 64 bytes."""


@dataclass(frozen=True)
class Header:
    """A file's header. `start` is the offset of the voxels."""

    shape: Index
    dtype: np.dtype[np.generic]
    fortran: bool
    start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def array(self, voxels: NDArray[np.uint8]) -> NDArray[np.generic]:
        """The array `(k, j, i)` of `nbytes` bytes, in this machine's byte order."""
        array = voxels.view(self.dtype).reshape(self.shape, order="F" if self.fortran else "C")
        return array.astype(self.dtype.newbyteorder("="), copy=False)


def read_header(start: bytes) -> Header:
    """The header at the start of a file. Raises `BadFile` for anything but a 3D array of real numbers."""
    stream = io.BytesIO(start[:_HEADER_BYTES])
    try:
        version = npy.read_magic(stream)
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in readers:
            raise BadFile(f"NPY file of version {version}; known are 1.0 and 2.0")
        shape, fortran, dtype = readers[version](stream, max_header_size=_HEADER_BYTES)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, tokenize.TokenError) as error:
        raise BadFile(f"this is no NPY file: {error}") from error
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise BadFile(f"the array is of type {dtype}; real numbers of up to 8 bytes are taken")
    if len(shape) != 3 or min(shape) < 1:
        raise BadFile(f"the array has shape {shape}; a volume has three sizes, slices first")
    k, j, i = (int(n) for n in shape)
    return Header((k, j, i), dtype, bool(fortran), stream.tell())


def read_volume(file: Path) -> NDArray[np.generic]:
    """A plain NPY file `(k, j, i)`. Raises `BadFile`, also for a file of another length than its header declares."""
    with file.open("rb") as stream:
        header = read_header(stream.read(_HEADER_BYTES))
        size = file.stat().st_size - header.start
        if size != header.nbytes:
            raise BadFile(f"the file has {size} bytes of voxels, an array of shape {header.shape} {header.nbytes}")
        stream.seek(header.start)
        return header.array(np.fromfile(stream, np.uint8, header.nbytes))


def read_mask(file: Path, shape: Index) -> NDArray[np.bool_]:
    """The non-zero voxels of a gzipped NPY file of `shape`. Never decompresses more bytes than such an array has.

    Raises `BadFile` for another shape, and for a stream that is too short or too long.
    """
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    packed = file.read_bytes()
    try:
        start = inflate.decompress(packed, _HEADER_BYTES)
        header = read_header(start)
        if header.shape != shape:
            raise BadFile(f"the mask has shape {header.shape}, the image {shape} (slices, rows, columns)")
        rest = header.start + header.nbytes - len(start)
        # One byte more than allowed shows whether there is more data. A limit of 0 would mean no limit.
        body = start[header.start :] + inflate.decompress(inflate.unconsumed_tail, max(rest, 0) + 1)
    except zlib.error as error:
        raise BadFile(f"the mask can't be inflated: {error}") from error
    if len(body) != header.nbytes or not inflate.eof:
        raise BadFile(f"the mask's file is not as long as an array of shape {header.shape} is")
    array = header.array(np.frombuffer(body, np.uint8))
    return np.not_equal(array.view(np.uint8) if array.dtype == np.bool_ else array, 0)
