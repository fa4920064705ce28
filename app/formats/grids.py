"""Views of a voxel grid along the axes of another: flipped and permuted, never resampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Geometry

_AXIS_TOLERANCE = 0.01

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class GridView:
    """Another grid with its axes permuted and flipped: its `geometry`, and `axes` and `flips` for arrays."""

    geometry: Geometry
    axes: tuple[int, int, int]
    flips: tuple[slice, slice, slice]

    def of(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """A writable view of an array `(k, j, i)` of the other grid, along this one's axes."""
        return array.transpose(self.axes)[self.flips]


def view_along(grid: Geometry, i_step: NDArray[np.float64], j_step: NDArray[np.float64]) -> GridView | None:
    """`grid` with its axes permuted and flipped so that i goes along `i_step` and j along `j_step` (LPS mm).

    None if these aren't voxel steps of `grid`. The third axis keeps its direction.
    """
    inverse = np.linalg.inv(grid.affine[:3, :3])
    turn = np.zeros((3, 3))
    for column, step in enumerate((i_step, j_step)):
        moved = inverse @ step
        axis = int(np.abs(moved).argmax())
        unit = np.zeros(3)
        unit[axis] = np.sign(moved[axis])
        if float(np.abs(moved - unit).max()) > _AXIS_TOLERANCE or turn[axis].any():
            return None
        turn[:, column] = unit
    rest = int(np.flatnonzero(~turn.any(axis=1))[0])
    turn[rest, 2] = 1
    return _view(grid, turn)


def view_like(grid: Geometry, other: Geometry) -> GridView | None:
    """`grid` with the axes of `other`; None if they aren't parallel or differ in spacing."""
    view = view_along(grid, other.affine[:3, 0], other.affine[:3, 1])
    if view is None:
        return None
    along = np.linalg.inv(view.geometry.affine[:3, :3]) @ other.affine[:3, 2]
    if along[2] > 0:
        return view
    flip = np.diag([1.0, 1.0, -1.0])
    again = _view(view.geometry, flip)
    # `view_along` doesn't flip the third axis.
    return GridView(again.geometry, view.axes, (slice(None, None, -1), *view.flips[1:]))


def view_towards(grid: Geometry, code: str) -> GridView:
    """`grid` with its axes `(i, j, k)` in the orientation `code`, one letter each of R/L, A/P and I/S: "LPS" is that of
    DICOM axial slices; in "LPI" k goes towards the feet.

    Oblique axes are assigned to the closest patient axis, the closest pair first, as in ITK's orientation filter.
    """
    towards = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
    closeness = np.abs(grid.direction)
    axis_of = {}
    for _ in range(3):
        patient, voxel = (int(n) for n in np.unravel_index(closeness.argmax(), (3, 3)))
        axis_of[patient] = voxel
        closeness[patient, :] = closeness[:, voxel] = -1
    turn = np.zeros((3, 3))
    for column, letter in enumerate(code):
        patient, sign = towards[letter]
        voxel = axis_of[patient]
        turn[voxel, column] = sign if grid.affine[patient, voxel] > 0 else -sign
    return _view(grid, turn)


def _view(grid: Geometry, turn: NDArray[np.float64]) -> GridView:
    """`turn` maps steps of the view `(i, j, k)` to steps of the grid; a signed permutation."""
    sizes = np.array(grid.shape[::-1])
    change = np.eye(4)
    change[:3, :3] = turn
    change[:3, 3] = np.where(turn.sum(axis=1) < 0, sizes - 1, 0)
    source = [int(np.abs(turn[:, column]).argmax()) for column in (2, 1, 0)]
    signs = [turn[:, column].sum() for column in (2, 1, 0)]
    k, j, i = (slice(None, None, -1) if sign < 0 else slice(None) for sign in signs)
    shape = (int(sizes[source[0]]), int(sizes[source[1]]), int(sizes[source[2]]))
    axes = (2 - source[0], 2 - source[1], 2 - source[2])
    return GridView(Geometry(shape, grid.affine @ change), axes, (k, j, i))
