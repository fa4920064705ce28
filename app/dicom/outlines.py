"""Outlines of structures on slices, and back: closed polygons in voxel units that give exactly the same voxels.

Points are `(j, i)`, row and column, with whole numbers at the centres of voxels. An outline encloses the centres of its
voxels and no others. It runs just inside of halfway to the next voxel's centre, so a program that rounds the points to
voxels, and counts an outline as inside, finds the same voxels too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""A closed polygon `(points, 2)`; the last point isn't the first again."""

_LEVEL = 0.51
"""Between 0 outside and 1 inside: 0.49 voxels from the centre of the voxel inside."""
_BESIDE = 0.005
"""Voxels between a channel and the centres along it: so few that its ends, rounded, are in the voxels that it joins."""
_ON_OUTLINE = 1e-3
"""Voxels. A centre this close to an outline is inside: many programs draw through the centres of outermost voxels."""


def outlines_of(plane: NDArray[np.bool_]) -> list[Points]:
    """The outlines of a mask `(j, i)`, one for each of its parts that touch by edges.

    A hole is joined to the outline around it by a channel without width (the keyhole technique of DICOM PS3.3
    C.8.8.6.3), so no outline lies inside of another's voxels.
    """
    from scipy import ndimage

    parts, count = ndimage.label(plane)
    outlines = []
    for number, place in enumerate(ndimage.find_objects(parts, count), start=1):
        corner = np.array([place[0].start - 1, place[1].start - 1], np.float64)
        outlines.append(_outline(parts[place] == number) + corner)
    return outlines


def filled(outlines: Sequence[Points], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask `(j, i)` of outlines: centres inside of an odd number of them, so that one within another is a hole, and
    centres on an outline. What lies outside of `shape` is dropped."""
    rows, columns = shape
    crossed = np.zeros((rows, columns + 1), np.int64)
    touched = np.zeros(shape, bool)
    for outline in outlines:
        start, end = outline, np.roll(outline, -1, axis=0)
        where, at = _crossings(start, end, rows)
        np.add.at(crossed, (where, np.clip(np.ceil(at), 0, columns).astype(np.int64)), 1)
        nearest = np.rint(at).astype(np.int64)
        close = (np.abs(at - nearest) < _ON_OUTLINE) & (nearest >= 0) & (nearest < columns)
        touched[where[close], nearest[close]] = True
        _touch_along_rows(touched, start, end)
    inside = (np.cumsum(crossed, axis=1)[:, :columns] % 2).astype(bool)
    return np.asarray(inside | touched)


def _crossings(start: Points, end: Points, rows: int) -> tuple[NDArray[np.int64], Points]:
    """Rows, and the columns at which the edges cross them. An edge has its lower end and hasn't its upper one, so a
    point between two edges counts once."""
    low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    first = np.clip(np.ceil(low), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(high), 0, rows).astype(np.int64)
    counts = last - first
    edge = np.repeat(np.arange(len(start)), counts)
    where = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    (y0, x0), (y1, x1) = start[edge].T, end[edge].T
    return where, x0 + (where - y0) * (x1 - x0) / np.where(y1 == y0, 1.0, y1 - y0)


def _touch_along_rows(touched: NDArray[np.bool_], start: Points, end: Points) -> None:
    """Mark the centres on edges that run along a row of voxels, and on points."""
    rows, columns = touched.shape
    row = np.rint(start[:, 0])
    along = (np.abs(start[:, 0] - row) < _ON_OUTLINE) & (np.abs(end[:, 0] - row) < _ON_OUTLINE)
    for j, one, other in zip(row[along], start[along, 1], end[along, 1], strict=True):
        first = max(0, int(np.ceil(min(one, other) - _ON_OUTLINE)))
        last = min(columns - 1, int(np.floor(max(one, other) + _ON_OUTLINE)))
        if 0 <= j < rows and first <= last:
            touched[int(j), first : last + 1] = True


def _outline(part: NDArray[np.bool_]) -> Points:
    """The outline of one connected part, with its holes, in a frame with a border of one voxel."""
    from skimage.measure import find_contours

    found = find_contours(np.pad(part, 1).astype(np.float64), _LEVEL, fully_connected="low")
    closed = [np.asarray(contour[:-1], np.float64) for contour in found]
    # The outer one encloses the others, so it is the one that reaches farthest.
    outer = max(range(len(closed)), key=lambda n: float(closed[n][:, 1].max()))
    path = closed.pop(outer)
    for hole in sorted(closed, key=lambda hole: -float(hole[:, 1].max())):
        path = _joined(path, hole)
    return path


def _joined(path: Points, hole: Points) -> Points:
    """The path with a channel to the hole and back, beside a row of centres, from the hole's right end."""
    row = float(hole[hole[:, 1].argmax(), 0]) + _BESIDE
    edges, at = _on_row(hole, row)
    last = int(at.argmax())
    reach, from_hole = float(at[last]), int(edges[last])
    edges, at = _on_row(path, row)
    beyond = np.where(at > reach, at, np.inf)
    to_path = int(edges[beyond.argmin()])
    near, far = np.array([[row, reach]]), np.array([[row, float(beyond.min())]])
    around = np.roll(hole, -(from_hole + 1), axis=0)
    return np.concatenate([path[: to_path + 1], far, near, around, near, far, path[to_path + 1 :]])


def _on_row(outline: Points, row: float) -> tuple[NDArray[np.int64], Points]:
    """The edges that cross a row, and their columns there."""
    end = np.roll(outline, -1, axis=0)
    edges = np.flatnonzero((outline[:, 0] > row) != (end[:, 0] > row))
    (y0, x0), (y1, x1) = outline[edges].T, end[edges].T
    return edges, x0 + (row - y0) * (x1 - x0) / (y1 - y0)
