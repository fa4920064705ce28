"""What a person draws on a screen, as voxels: strokes with a round pen, and closed outlines.

Points are continuous voxel indices `(k, j, i)`: the centre of a voxel has whole numbers, and the voxel reaches half a
step to each side. Everything is measured in voxels, whatever their spacing. What lies outside the volume is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import Lasso, Region, Scribble
from app.core.volume import Index

Place = tuple[float, float, float]
"""A continuous voxel index `(k, j, i)`."""

MOST_PIECES, MOST_TESTS = 20_000, 100_000_000
"""How many pieces one stroke may have, and distances they may take; a person's takes a few thousand."""

_PIECE = 16.0
"""A segment is measured in pieces of at most so many voxels: the box around a long slanted one is mostly empty."""

_SLACK = 1e-9
"""So that a voxel exactly at the pen's edge counts, whatever the rounding."""


def polyline_scribble(points: Sequence[Place], radius: float, shape: Index, include: bool = True) -> Scribble | None:
    """The voxels that a ball of `radius` voxels covers on its way along a line; None if all lie outside `shape`.

    A voxel belongs to it if its centre is at most `radius` away from the line. So that a thin pen leaves a mark too,
    the voxels that hold the points themselves always belong to it.

    Raises `ValueError` for no points, for numbers that are none, and for a stroke that would take seconds.
    """
    if not points or not np.isfinite([*np.ravel(points), radius]).all() or radius < 0:
        raise ValueError("a stroke has points and a radius of at least 0, all of them numbers")
    ends = list(pairwise(points)) if len(points) > 1 else [(points[0], points[0])]
    pieces: list[_Piece] = []
    tests = 0
    for start, end in ends:
        new = _pieces(np.array(start, float), np.array(end, float), radius, shape)
        pieces += new
        tests += sum(prod(piece.region.shape) for piece in new)
        if len(pieces) > MOST_PIECES or tests > MOST_TESTS:
            raise ValueError("this stroke is too long or too thick; draw it in parts")
    held = _held(points, shape)
    regions = [piece.region for piece in pieces] + [Region(at, _after(at)) for at in held]
    if not regions:
        return None
    whole = regions[0]
    for region in regions[1:]:
        whole = whole.join(region)
    canvas = np.zeros(whole.shape, bool)
    for piece in pieces:
        canvas[_within(piece.region, whole)] |= piece.covered(radius)
    for at in held:
        canvas[_within(Region(at, _after(at)), whole)] = True
    filled = Region.around(canvas)
    if filled is None:
        return None
    return Scribble(_moved(filled, whole.low), canvas[filled.slices].copy(), include)


def polygon_lasso(points: Sequence[Place], axis: int, shape: Index, include: bool = True) -> Lasso | None:
    """The voxels of one slice across `axis` whose centres lie inside a closed outline; None if there are none within
    `shape`.

    Even-odd: where the outline crosses itself, what is enclosed twice is outside. A centre exactly on the outline
    belongs to what lies towards higher indices, so that outlines side by side share no voxel and leave none out.

    Raises `ValueError` for fewer than three points, numbers that are none, and points that are not on one slice.
    """
    corners = np.array(points, float)
    if corners.ndim != 2 or len(corners) < 3 or corners.shape[1] != 3 or not np.isfinite(corners).all():
        raise ValueError("an outline has three points at least, all of them numbers")
    depth = np.round(corners[:, axis])
    if (depth != depth[0]).any():
        raise ValueError("the points of an outline lie on one slice")
    rows, columns = (a for a in range(3) if a != axis)
    if not 0 <= depth[0] < shape[axis]:
        return None
    inside = _even_odd(corners[:, rows], corners[:, columns], shape[rows], shape[columns])
    plane = np.expand_dims(inside, axis)
    filled = Region.around(plane)
    if filled is None:
        return None
    offset = [0, 0, 0]
    offset[axis] = int(depth[0])
    return Lasso(_moved(filled, (offset[0], offset[1], offset[2])), plane[filled.slices].copy(), include)


@dataclass(frozen=True, eq=False)
class _Piece:
    """A piece of a line, and the voxels that may be near it."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    region: Region

    def covered(self, radius: float) -> NDArray[np.bool_]:
        """Which voxels of the region are at most `radius` away."""
        step = self.end - self.start
        length = float(step @ step)
        grid = np.ogrid[self.region.slices]
        apart = [axis - start for axis, start in zip(grid, self.start, strict=True)]
        along = sum(a * s for a, s in zip(apart, step, strict=True))
        share = np.clip(along / length, 0, 1) if length > 0 else 0.0
        distance = sum((a - share * s) ** 2 for a, s in zip(apart, step, strict=True))
        return np.asarray(distance <= radius * radius + _SLACK)


def _pieces(start: NDArray[np.float64], end: NDArray[np.float64], radius: float, shape: Index) -> list[_Piece]:
    """A segment cut into pieces, of those parts only that can touch the volume."""
    span = _touching(start, end, radius, shape)
    if span is None:
        return []
    step = end - start
    count = max(1, int(np.ceil((span[1] - span[0]) * float(np.linalg.norm(step)) / _PIECE)))
    cuts = [start + share * step for share in np.linspace(*span, count + 1)]
    pieces = []
    for a, b in pairwise(cuts):
        low = np.maximum(np.floor(np.minimum(a, b) - radius), 0).astype(int)
        high = np.minimum(np.ceil(np.maximum(a, b) + radius) + 1, shape).astype(int)
        if (low < high).all():
            pieces.append(_Piece(a, b, Region(_index(low), _index(high))))
    return pieces


def _touching(
    start: NDArray[np.float64], end: NDArray[np.float64], radius: float, shape: Index
) -> tuple[float, float] | None:
    """From where to where, as shares of its length, a segment is no more than `radius` outside the volume along any
    axis (Liang and Barsky 1984). Without this a point far away would make for pieces without end."""
    first, last = 0.0, 1.0
    for a, b, size in zip(start.tolist(), end.tolist(), shape, strict=True):
        low, high = -radius - 1.0, size + radius
        if a == b:
            if not low <= a <= high:
                return None
            continue
        enter, leave = sorted(((low - a) / (b - a), (high - a) / (b - a)))
        first, last = max(first, enter), min(last, leave)
    return (first, last) if first <= last else None


def _held(points: Sequence[Place], shape: Index) -> list[Index]:
    """The voxels of the volume that hold the points, each once."""
    places = np.round(np.array(points, float))
    inside = places[((places >= 0) & (places < shape)).all(axis=1)]
    return [_index(place) for place in np.unique(inside.astype(int), axis=0)]


def _even_odd(ys: NDArray[np.float64], xs: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.bool_]:
    """Which pixel centres lie inside an outline: an odd number of its edges cross their row before them."""
    crossings = np.zeros((rows, columns + 1), np.int64)
    for y0, x0, y1, x1 in zip(ys, xs, np.roll(ys, -1), np.roll(xs, -1), strict=True):
        (top, left), (bottom, right) = sorted(((y0, x0), (y1, x1)))
        # Half-open: a corner on a row belongs to one of its two edges.
        first, end = (int(np.clip(np.ceil(y), 0, rows)) for y in (top, bottom))
        if first >= end:
            continue
        crossed = np.arange(first, end)
        x = left + (crossed - top) * ((right - left) / (bottom - top))
        np.add.at(crossings, (crossed, np.clip(np.ceil(x), 0, columns).astype(int)), 1)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :columns] % 2 == 1)


def _within(region: Region, whole: Region) -> tuple[slice, ...]:
    """Where a region lies in an array of `whole`."""
    return tuple(slice(a - o, b - o) for a, b, o in zip(region.low, region.high, whole.low, strict=True))


def _moved(region: Region, by: Index) -> Region:
    low, high = np.add(region.low, by), np.add(region.high, by)
    return Region(_index(low), _index(high))


def _after(at: Index) -> Index:
    k, j, i = at
    return k + 1, j + 1, i + 1


def _index(values: NDArray[np.generic]) -> Index:
    k, j, i = (int(value) for value in values)
    return k, j, i
