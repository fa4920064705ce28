"""Decompressing gzipped voxel buffers, never beyond the size that the metadata declare.

Protocol: docs/protocols/itksnap.md, section 2.3.
"""

from __future__ import annotations

import zlib
from typing import IO

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import Region
from app.core.volume import Index
from app.dialects.itksnap.metadata import Grid
from app.errors import BadFile, BadInput, BadPrompt

_READ = 256 * 1024
_UNPACK = 2**20
_GREATEST_RATIO = 1032  # deflate's limit: a match of 258 bytes takes at least two bits


def read_image(file: IO[bytes], grid: Grid) -> NDArray[np.generic]:
    """The voxels `(k, j, i)` of an image. Raises `BadFile` for a damaged stream, or another length than `grid`'s."""
    unpacker = _Unpacker(file, grid)
    voxels = np.empty(grid.shape, grid.dtype)
    unpacker.fill(voxels)
    unpacker.finish()
    return voxels


def read_drawing(file: IO[bytes], grid: Grid) -> tuple[Region, NDArray[np.bool_]]:
    """A drawing: its bounding box, and the bool voxels `(k, j, i)` inside.

    A drawing is sent as a whole volume, nearly all zeros; only one slice is decompressed at a time. Raises `BadFile` as
    `read_image`, and `BadPrompt` if nothing was drawn.
    """
    unpacker = _Unpacker(file, grid)
    plane = np.empty(grid.shape[1:], grid.dtype)
    drawn: dict[int, NDArray[np.bool_]] = {}
    for k in range(grid.shape[0]):
        unpacker.fill(plane)
        if plane.any():
            if not np.isfinite(plane).all():
                raise BadInput("the drawing has voxels that are not finite")
            drawn[k] = plane != 0
    unpacker.finish()
    if not drawn:
        raise BadPrompt("nothing was drawn: the stroke has no voxels in the image")
    return _cut_out(drawn, grid.shape)


def _cut_out(drawn: dict[int, NDArray[np.bool_]], shape: Index) -> tuple[Region, NDArray[np.bool_]]:
    first, last = min(drawn), max(drawn)
    slab = np.zeros((last + 1 - first, *shape[1:]), np.bool_)
    for k, plane in drawn.items():
        slab[k - first] = plane
    inside = Region.around(slab)
    if inside is None:
        raise BadPrompt("nothing was drawn: the stroke has no voxels in the image")
    (k0, j0, i0), (k1, j1, i1) = inside.low, inside.high
    return Region((first + k0, j0, i0), (first + k1, j1, i1)), slab[inside.slices]


class _Unpacker:
    """A gzip stream (one member) that is decompressed in chunks; at most one chunk is in memory."""

    def __init__(self, file: IO[bytes], grid: Grid) -> None:
        self._file = file
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._expected = grid.bytes
        packed = file.seek(0, 2)
        file.seek(0)
        # Before allocating: a few bytes can't contain a whole volume.
        if packed * _GREATEST_RATIO < self._expected:
            raise BadFile(f"the buffer is too short: {packed} bytes can't hold the {self._expected} of its dimensions")

    def fill(self, into: NDArray[np.generic]) -> None:
        """Decompress exactly as many bytes as `into` has."""
        room = into.reshape(-1).view(np.uint8).data
        at = 0
        while at < len(room):
            piece = self._piece(min(len(room) - at, _UNPACK))
            if piece is None:
                raise BadFile(f"the buffer is too short: its dimensions ask for {self._expected} bytes")
            room[at : at + len(piece)] = piece
            at += len(piece)

    def finish(self) -> None:
        """Check that the stream ends here and its checksum is right."""
        while (piece := self._piece(1)) is not None:
            if piece:
                raise BadFile(f"the buffer is too long: its dimensions ask for {self._expected} bytes")
        if self._zlib.unused_data or self._file.read(1):
            raise BadFile("something follows the gzip stream")

    def _piece(self, most: int) -> bytes | None:
        """The next bytes, from none to the given maximum; None at the end of the stream."""
        if self._zlib.eof:
            return None
        packed = self._zlib.unconsumed_tail or self._file.read(_READ)
        try:
            piece = self._zlib.decompress(packed, most)
        except zlib.error as error:
            raise BadFile(f"the buffer is no gzip stream that can be read: {error}") from error
        if not packed and not piece:
            raise BadFile("the gzip stream breaks off before its end")
        return piece
