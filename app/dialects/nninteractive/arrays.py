"""Arrays on the wire: nnInteractive's own serialiser, with validation in front.

Protocol: docs/protocols/nninteractive.md, section 3.

The serialiser allocates what a header declares and trusts the name of a type, so both are validated before it gets
the bytes. Layout, little-endian: magic, version, codec, ndim, length of the type's name; the name; the sizes as int64;
the number of chunks as uint32; and for each chunk its length before and after compression as uint64, and a blosc2
frame, whose own header has both lengths again.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import BadFile

_MAGIC = b"NNIA"
_VERSION = 1
_CODECS = frozenset({1, 2})  # blosc2 with zstd, with lz4
_START = struct.Struct("<4sBBBB")
_COUNT = struct.Struct("<I")
_LENGTHS = struct.Struct("<QQ")
_FRAME = struct.Struct("<BBBBiii")  # versions, flags, type size; lengths before, of a block, and after compression
_CHUNK_BYTES = 2**30  # more than this never goes into one chunk
_REALS = (
    "bool",
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    *(f"float{bits}" for bits in (16, 32, 64)),
)
"""The accepted types. An `object` array, for example, would interpret the received bytes as pointers."""


@dataclass(frozen=True)
class Header:
    """The header of a packed array. `end` is the offset of its chunks."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    end: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(packed: bytes | bytearray) -> Header:
    """Parse a header. Raises `BadFile` if it isn't that of a packed array of real numbers."""
    if len(packed) < _START.size or packed[:4] != _MAGIC:
        raise BadFile("the body is no packed array: it doesn't begin with NNIA")
    _, version, codec, ndim, name_length = _START.unpack_from(packed)
    if version != _VERSION or codec not in _CODECS:
        raise BadFile(f"packed array of version {version} with codec {codec}; known are version 1 with codecs 1 and 2")
    if not 1 <= ndim <= 4:
        raise BadFile(f"packed array of {ndim} axes; images have 4, masks 3")
    end = _START.size + name_length + 8 * ndim
    if len(packed) < end + _COUNT.size:
        raise BadFile("the packed array ends within its header")
    name = bytes(packed[_START.size : _START.size + name_length]).decode("ascii", "replace")
    if name not in _REALS:
        raise BadFile(f"packed array of type {name!r}; known are {', '.join(_REALS)}")
    shape = struct.unpack_from(f"<{ndim}q", packed, _START.size + name_length)
    if min(shape) < 1:
        raise BadFile(f"packed array of shape {shape}; sizes are positive")
    return Header(np.dtype(name), shape, end)


def unpack(packed: bytes | bytearray, header: Header, limit: int) -> NDArray[np.generic]:
    """The array. Raises what `check` raises, before anything is allocated, and `BadFile` for damaged chunks."""
    check(packed, header, limit)
    array = np.empty(header.shape, header.dtype)
    unpack_into(array, packed, header)
    return array


def check(packed: bytes | bytearray, header: Header, limit: int) -> None:
    """Raise `BadFile` for more than `limit` bytes, and for chunks that don't match the header."""
    if header.nbytes > limit:
        raise BadFile(f"an array of shape {header.shape} has more than {limit >> 20} MB; it is refused")
    for _ in _chunks(packed, header):
        pass


def unpack_into(array: NDArray[np.generic], packed: bytes | bytearray, header: Header) -> None:
    """Unpack a validated array into a C-contiguous array of its shape and type. Raises `BadFile` for damaged chunks.

    This does the serialiser's work, which can't unpack into an existing array.
    """
    import blosc2

    target = array.reshape(-1).view(np.uint8)
    filled = 0
    with memoryview(packed) as view:
        for at, after, before in _chunks(packed, header):
            with view[at : at + after] as chunk:
                try:
                    blosc2.decompress2(chunk, dst=target[filled : filled + before])
                except (ValueError, RuntimeError) as error:
                    raise BadFile(f"the packed array can't be decompressed: {error}") from error
            filled += before


def pack(array: NDArray[np.generic]) -> bytes:
    """Pack an array, without a filter: masks compress best that way."""
    import blosc2
    from nnInteractive.inference.remote.serialization import pack_array

    # One thread: waking up more takes longer than compressing a mask of a few kilobytes.
    threads = 1 if array.nbytes < 2**20 else os.cpu_count()
    packed: bytes = pack_array(array, filters=[blosc2.Filter.NOFILTER], nthreads=threads)
    return packed


def _chunks(packed: bytes | bytearray, header: Header) -> Iterator[tuple[int, int, int]]:
    """Where each chunk is: `(offset, compressed length, length)`. Raises `BadFile` as soon as one is impossible."""
    at, total, size = header.end + _COUNT.size, 0, len(packed)
    (count,) = _COUNT.unpack_from(packed, header.end)
    for _ in range(count):  # each chunk has at least a header, so an excessive count fails soon
        if size < at + _LENGTHS.size + _FRAME.size:
            raise BadFile("the packed array ends too early")
        before, after = _LENGTHS.unpack_from(packed, at)
        at += _LENGTHS.size
        *_, frame_before, _, frame_after = _FRAME.unpack_from(packed, at)
        if before != frame_before or after != frame_after:
            raise BadFile("the packed array says other lengths than its frames")
        if not 0 < before <= _CHUNK_BYTES or before % header.dtype.itemsize or after < _FRAME.size:
            raise BadFile("the packed array has a chunk of an impossible length")
        if size < at + after or header.nbytes < total + before:
            break
        yield at, after, before
        at, total = at + after, total + before
    if at != size or total != header.nbytes:
        raise BadFile(f"the packed array's chunks are not what an array of shape {header.shape} needs")
