"""A mask as one gzip stream (RFC 1952) of which only changed slices are compressed again.

Some viewers fetch the whole mask, compressed, after every click. A deflate stream (RFC 1951) is a sequence of blocks
that may end at a byte, and the CRC-32 of parts can be combined into that of the whole, so both are cached per slice:

    gzip header | prefix | slice 0 | slice 1 | ... | suffix | empty last block | CRC-32 | length

Measured for one 512 x 512 slice of an organ: run-length matching only (`Z_RLE`) takes 0.4 ms like level 1, and its
result is a third of the size and smaller than that of level 6, because a mask consists of runs. Empty rows above and
below the structure use precomputed blocks, which leaves about 0.2 ms.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import Region

_HEADER = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"  # deflate, no name, no time, unknown system
_LAST_BLOCK = b"\x03\x00"  # final, fixed codes, nothing in it
_POLYNOMIAL = 0xEDB88320  # of CRC-32, x^31 in the lowest bit

_ShiftTables = tuple[tuple[int, ...], ...]


class SlicewiseGzip:
    """The gzip stream of a uint8 mask `(k, j, i)` that its owner changes in place.

    Not thread-safe: guarded by the lock of the mask.
    """

    def __init__(self, mask: NDArray[np.uint8]) -> None:
        if mask.dtype != np.uint8 or mask.ndim != 3:
            raise ValueError(f"a uint8 mask (k, j, i), not {mask.dtype} of {mask.ndim} axes")
        slices, rows, columns = mask.shape
        self._mask = mask
        self._shift = _shift_tables(rows * columns)
        # Blocks of 1, 2, 4, ... empty rows, which combine to any number of empty rows.
        self._empty_rows = [_blocks(bytes(columns << power)) for power in range(rows.bit_length())]
        self._empty = _Slice(self._empty_run(rows), zlib.crc32(bytes(rows * columns)))
        self._slices = [self._empty] * slices
        self._dirty = set(range(slices))

    def touch(self, region: Region | None) -> None:
        """Mark `region` as changed; None, as returned by sessions, is a no-op."""
        if region is not None:
            self._dirty.update(range(region.low[0], region.high[0]))

    def gzip(self, prefix: bytes = b"", suffix: bytes = b"") -> bytes:
        """The gzip stream of `prefix` (such as a file header), the current mask, i fastest, and `suffix`."""
        for k in self._dirty:
            self._slices[k] = self._compressed(k)
        self._dirty.clear()
        parts = [_HEADER]
        if prefix:
            parts.append(_blocks(prefix))
        crc = zlib.crc32(prefix)
        low, second, third, high = self._shift
        for one in self._slices:
            parts.append(one.blocks)
            shifted = low[crc & 255] ^ second[crc >> 8 & 255] ^ third[crc >> 16 & 255] ^ high[crc >> 24]
            crc = shifted ^ one.crc
        if suffix:
            parts.append(_blocks(suffix))
            crc = zlib.crc32(suffix, crc)
        size = len(prefix) + self._mask.size + len(suffix)
        parts += [_LAST_BLOCK, struct.pack("<II", crc, size & 0xFFFFFFFF)]
        return b"".join(parts)

    def _compressed(self, k: int) -> _Slice:
        pixels = np.ascontiguousarray(self._mask[k])
        filled = np.flatnonzero(pixels.any(axis=1))
        if filled.size == 0:
            return self._empty
        first, end = int(filled[0]), int(filled[-1]) + 1
        blocks = self._empty_run(first) + _blocks(pixels[first:end].data) + self._empty_run(len(pixels) - end)
        return _Slice(blocks, zlib.crc32(pixels.data))

    def _empty_run(self, rows: int) -> bytes:
        return b"".join(block for power, block in enumerate(self._empty_rows) if rows >> power & 1)


class _Slice:
    """A slice's deflate blocks and the CRC-32 of its bytes."""

    __slots__ = ("blocks", "crc")

    def __init__(self, blocks: bytes, crc: int) -> None:
        self.blocks = blocks
        self.crc = crc


def _blocks(data: bytes | memoryview) -> bytes:
    """Deflate blocks that end at a byte, aren't final, and don't refer to earlier data."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_RLE)
    return compressor.compress(data) + compressor.flush(zlib.Z_FULL_FLUSH)


@lru_cache(maxsize=32)
def _shift_tables(length: int) -> _ShiftTables:
    """Tables, one per byte of a CRC-32, that give its contribution to the CRC after `length` more bytes.

    Appending multiplies the CRC by x^(8 length) modulo the polynomial over GF(2), which is linear: the product of a
    32-bit value is the sum of the products of its bytes. As zlib's `crc32_combine`, with the operator precomputed.
    """
    factor = _power_of_x(8 * length)
    tables = []
    for byte in range(4):
        table = [0] * 256
        for value in range(1, 256):
            lowest = value & -value
            rest = value ^ lowest
            table[value] = table[rest] ^ table[lowest] if rest else _multiplied(factor, lowest << 8 * byte)
        tables.append(tuple(table))
    return tuple(tables)


def _power_of_x(exponent: int) -> int:
    result, square = 1 << 31, 1 << 30  # one, and x
    while exponent:
        if exponent & 1:
            result = _multiplied(result, square)
        square = _multiplied(square, square)
        exponent >>= 1
    return result


def _multiplied(a: int, b: int) -> int:
    """The product of two polynomials modulo CRC-32's, bit 31 being the constant term."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


SLICES = 8


class PackedGzip:
    """The gzip stream of `np.packbits(mask)`, most significant bit first, for a uint8 mask `(k, j, i)` of 0 and 1.

    Only changed parts are compressed again, in groups of eight slices, whose bits always fill whole bytes. The owner
    changes the mask in place. Not thread-safe: guarded by the lock of the mask.
    """

    def __init__(self, mask: NDArray[np.uint8]) -> None:
        slices, rows, columns = mask.shape
        self._mask = mask
        self._packed = np.zeros((slices // SLICES, 1, rows * columns), np.uint8)
        self._encoder = SlicewiseGzip(self._packed)
        self._dirty = set(range(len(self._packed)))

    def touch(self, region: Region | None) -> None:
        """Mark `region` as changed; None is a no-op."""
        if region is not None:
            end = (region.high[0] - 1) // SLICES + 1
            self._dirty.update(range(region.low[0] // SLICES, min(end, len(self._packed))))

    def gzip(self) -> bytes:
        """The gzip stream of the current mask, `ceil(voxels / 8)` bytes uncompressed."""
        for group in self._dirty:
            bits = np.packbits(self._mask[group * SLICES : (group + 1) * SLICES])
            self._packed[group, 0] = bits
            self._encoder.touch(Region((group, 0, 0), (group + 1, 1, bits.size)))
        self._dirty.clear()
        rest = np.packbits(self._mask[len(self._packed) * SLICES :])
        return self._encoder.gzip(suffix=rest.tobytes())
