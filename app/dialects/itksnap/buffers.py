"""Decompressing gzipped voxel buffers, never beyond the size that the metadata declare.

Protocol: docs/protocols/itksnap.md, section 2.3.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import Region
from app.core.volume import Index
from app.dialects.itksnap.metadata import Grid
from app.errors import BadFile, BadInput, BadPrompt
from app.formats.inflate import GREATEST_RATIO, GZIP, InflatedFile


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
    """A gzip stream (one member) of exactly the bytes of `grid`, decompressed as far as it is read."""

    def __init__(self, file: IO[bytes], grid: Grid) -> None:
        self._expected = grid.bytes
        packed = file.seek(0, 2)
        file.seek(0)
        # Before allocating: a few bytes can't contain a whole volume.
        if packed * GREATEST_RATIO < self._expected:
            raise BadFile(f"the buffer is too short: {packed} bytes can't hold the {self._expected} of its dimensions")
        self._stream = InflatedFile(file, GZIP)

    def fill(self, into: NDArray[np.generic]) -> None:
        """Decompress exactly as many bytes as `into` has."""
        with _bad_streams():
            room = into.reshape(-1).view(np.uint8).data
            if self._stream.read_into(room) < len(room):
                self._check_complete()
                raise BadFile(f"the buffer is too short: its dimensions ask for {self._expected} bytes")

    def finish(self) -> None:
        """Check that the stream ends here and its checksum is right."""
        with _bad_streams():
            if self._stream.has_more():
                raise BadFile(f"the buffer is too long: its dimensions ask for {self._expected} bytes")
            self._check_complete()
            if self._stream.has_trailer():
                raise BadFile("something follows the gzip stream")

    def _check_complete(self) -> None:
        if not self._stream.complete:
            raise BadFile("the gzip stream breaks off before its end")


@contextmanager
def _bad_streams() -> Iterator[None]:
    try:
        yield
    except zlib.error as error:
        raise BadFile(f"the buffer is no gzip stream that can be read: {error}") from error
