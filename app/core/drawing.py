"""Rasterizing what a person draws on a screen: strokes with a round pen, and closed outlines.

Points are continuous voxel indices `(k, j, i)`: integers are voxel centres, and a voxel extends 0.5 to each side.
Distances are in voxels, whatever the spacing. Whatever lies outside the volume is clipped.
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

MAX_PIECES, MAX_DISTANCES = 20_000, 100_000_000
"""Limits for one stroke: pieces, and distances computed for them. Strokes drawn by hand need a few thousand."""

_PIECE = 16.0
"""The longest piece of a line, in voxels. Longer oblique lines are split: their bounding boxes are mostly empty."""

_ONE_PLANE = 0.5
"""Points that differ by no more than this across a plane, in voxels, were drawn on that plane."""

_SLACK = 1e-9
"""A tolerance for rounding, so that voxels exactly at the pen's edge are included, and that a plane in the middle
between two slices always lies on the same one of them."""


def polyline_scribble(points: Sequence[Place], radius: float, shape: Index, include: bool = True) -> Scribble | None:
    """The voxels within `radius` voxels of a polyline; None if all of them lie outside `shape` `(k, j, i)`.

    Distances are measured to voxel centres. The voxels that contain the points are always included, so that a thin pen
    leaves a mark.

    Raises `ValueError` for no points, for NaN or infinite values, and for a stroke that would take seconds to compute.
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
        if len(pieces) > MAX_PIECES or tests > MAX_DISTANCES:
            raise ValueError("this stroke is too long or too thick; draw it in parts")
    containing = _containing(points, shape)
    regions = [piece.region for piece in pieces] + [Region(at, _after(at)) for at in containing]
    if not regions:
        return None
    whole = regions[0]
    for region in regions[1:]:
        whole = whole.join(region)
    canvas = np.zeros(whole.shape, bool)
    for piece in pieces:
        canvas[_within(piece.region, whole)] |= piece.covered(radius)
    for at in containing:
        canvas[_within(Region(at, _after(at)), whole)] = True
    filled = Region.around(canvas)
    if filled is None:
        return None
    return Scribble(_moved(filled, whole.low), canvas[filled.slices].copy(), include)


def polygon_lasso(points: Sequence[Place], axis: int, shape: Index, include: bool = True) -> Lasso | None:
    """The voxels of one slice, perpendicular to `axis`, whose centres lie inside a closed outline; None if no voxel of
    `shape` `(k, j, i)` does.

    Even-odd rule: an area enclosed twice is outside. A centre exactly on the outline belongs to the area towards higher
    indices, so adjacent outlines neither overlap nor leave a gap. An outline in the middle between two slices lies on
    the higher one.

    Raises `ValueError` for fewer than three points, NaN or infinite values, and points that aren't on one slice.
    """
    corners = np.array(points, float)
    if corners.ndim != 2 or len(corners) < 3 or corners.shape[1] != 3 or not np.isfinite(corners).all():
        raise ValueError("an outline has three points at least, all of them numbers")
    depths = corners[:, axis]
    if (np.round(depths) != np.round(depths[0])).any() and np.ptp(depths) > _ONE_PLANE:
        raise ValueError("the points of an outline lie on one slice")
    # One rounding for all, upwards: in the middle between two slices, the last digits must not decide.
    depth = int(np.floor(depths[0] + 0.5 + _SLACK))
    rows, columns = (a for a in range(3) if a != axis)
    if not 0 <= depth < shape[axis]:
        return None
    inside = _even_odd(corners[:, rows], corners[:, columns], shape[rows], shape[columns])
    plane = np.expand_dims(inside, axis)
    filled = Region.around(plane)
    if filled is None:
        return None
    offset = [0, 0, 0]
    offset[axis] = depth
    return Lasso(_moved(filled, (offset[0], offset[1], offset[2])), plane[filled.slices].copy(), include)


@dataclass(frozen=True, eq=False)
class _Piece:
    """A piece of a line, and the region that may be within the pen's radius."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    region: Region

    def covered(self, radius: float) -> NDArray[np.bool_]:
        """Which voxels of the region are at most `radius` away, bool of the region's shape."""
        step = self.end - self.start
        squared_length = float(step @ step)
        grid = np.ogrid[self.region.slices]
        offsets = [axis - start for axis, start in zip(grid, self.start, strict=True)]
        projection = sum(a * s for a, s in zip(offsets, step, strict=True))
        fraction = np.clip(projection / squared_length, 0, 1) if squared_length > 0 else 0.0
        squared_distance = sum((a - fraction * s) ** 2 for a, s in zip(offsets, step, strict=True))
        return np.asarray(squared_distance <= radius * radius + _SLACK)


def _pieces(start: NDArray[np.float64], end: NDArray[np.float64], radius: float, shape: Index) -> list[_Piece]:
    """The part of a line segment that can touch the volume, split into pieces."""
    span = _clipped(start, end, radius, shape)
    if span is None:
        return []
    step = end - start
    count = max(1, int(np.ceil((span[1] - span[0]) * float(np.linalg.norm(step)) / _PIECE)))
    cuts = [start + fraction * step for fraction in np.linspace(*span, count + 1)]
    pieces = []
    for a, b in pairwise(cuts):
        low = np.maximum(np.floor(np.minimum(a, b) - radius), 0).astype(int)
        high = np.minimum(np.ceil(np.maximum(a, b) + radius) + 1, shape).astype(int)
        if (low < high).all():
            pieces.append(_Piece(a, b, Region(_index(low), _index(high))))
    return pieces


def _clipped(
    start: NDArray[np.float64], end: NDArray[np.float64], radius: float, shape: Index
) -> tuple[float, float] | None:
    """Where a segment is at most `radius` outside the volume along every axis, as fractions of its length (Liang and
    Barsky 1984). Without this, a distant point would need an unlimited number of pieces."""
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


def _containing(points: Sequence[Place], shape: Index) -> list[Index]:
    """The voxels of the volume that contain the points, without duplicates."""
    places = np.round(np.array(points, float))
    inside = places[((places >= 0) & (places < shape)).all(axis=1)]
    return [_index(place) for place in np.unique(inside.astype(int), axis=0)]


def _even_odd(ys: NDArray[np.float64], xs: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.bool_]:
    """Which pixel centres lie inside an outline, bool `(rows, columns)`: those with an odd number of edges that cross
    their row to the left of them."""
    crossings = np.zeros((rows, columns + 1), np.int64)
    for y0, x0, y1, x1 in zip(ys, xs, np.roll(ys, -1), np.roll(xs, -1), strict=True):
        (top, left), (bottom, right) = sorted(((y0, x0), (y1, x1)))
        # Half-open: a corner on a row belongs to only one of its two edges.
        first, end = (int(np.clip(np.ceil(y), 0, rows)) for y in (top, bottom))
        if first >= end:
            continue
        crossed = np.arange(first, end)
        x = left + (crossed - top) * ((right - left) / (bottom - top))
        np.add.at(crossings, (crossed, np.clip(np.ceil(x), 0, columns).astype(int)), 1)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :columns] % 2 == 1)


def _within(region: Region, whole: Region) -> tuple[slice, ...]:
    """The slices of a region in an array that covers `whole`."""
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
