"""Arrays in JSON: base64 of bits coming in, base64 of gzip going out."""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from math import prod

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Index
from app.errors import BadFile, BadPrompt


def unpack_bits(text: str, shape: Index) -> NDArray[np.bool_]:
    """Base64 of `np.packbits` of a bool array `shape`, C order. Raises `BadPrompt`, before anything is decoded if the
    text is not as long as it has to be."""
    count = prod(shape)
    size = -(-count // 8)
    if len(text) != 4 * -(-size // 3):
        raise BadPrompt(f"{shape} voxels are {size} bytes of bits, so {4 * -(-size // 3)} letters; {len(text)} came")
    try:
        packed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPrompt("voxels should be base64") from error
    if len(packed) != size:
        raise BadPrompt(f"{shape} voxels are {size} bytes of bits; {len(packed)} came")
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(bool).reshape(shape)


def gzipped(voxels: NDArray[np.uint8]) -> str:
    """Base64 of gzip of an array's bytes, C order."""
    return base64.b64encode(gzip.compress(np.ascontiguousarray(voxels).data, 1, mtime=0)).decode()


def inflate(packed: bytes | bytearray, shape: Index) -> NDArray[np.uint8]:
    """A gzip stream of exactly one byte a voxel of `shape`. Never makes more bytes than that. Raises `BadFile`."""
    count = prod(shape)
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        data = reader.decompress(packed, count + 1)
    except zlib.error as error:
        raise BadFile("the body should be gzip of one byte a voxel") from error
    if len(data) != count or not reader.eof or reader.unused_data:
        raise BadFile(f"the voxels should be exactly {count} bytes, one for each of {shape} (slice, row, column)")
    return np.frombuffer(data, np.uint8).reshape(shape)
