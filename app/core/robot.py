"""What a simulated user does next, who sees the truth and the mask.

As in the CVPR 2025 challenge: into the middle, by the Euclidean distance transform in voxels, of the largest error.
Errors are connected over faces, edges and corners (26 neighbours), what is missing and what is too much together; of
several voxels that are equally deep one is drawn. A scribble or a lasso is drawn on the slice of that voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import Box, Lasso, Point, Prompt, Region, Scribble
from app.core.volume import Index

Bools = NDArray[np.bool_]
Style = Literal["points", "scribbles", "lassos"]
Plane = Literal["axial", "coronal", "sagittal"]

AXES: dict[Plane, int] = {"axial": 0, "coronal": 1, "sagittal": 2}
"""The axis of `(k, j, i)` that is constant on a slice, for images whose slices are axial."""

CHALLENGE_SEED = 42


@dataclass(frozen=True)
class Robot:
    """A user's habits. `noise`: how far from where it is meant a prompt may land, in voxels along each axis.

    The seed decides each prompt by itself, so that the same error gets the same prompt.
    """

    style: Style = "points"
    plane: Plane = "axial"
    noise: int = 0
    seed: int = CHALLENGE_SEED

    def next_prompt(self, truth: Bools, mask: Bools) -> Prompt | None:
        """A prompt about the largest error of `mask`; None if there is none. Arrays `(k, j, i)`."""
        wrong = truth != mask
        around = Region.around(wrong)
        if around is None:
            return None
        error = np.zeros_like(wrong)
        error[around.slices] = _largest(wrong[around.slices])
        region = Region.around(error) or around
        random = np.random.RandomState(self.seed)
        at = _deepest(error[region.slices], random)
        place = _plus(at, region.low)
        include = bool(truth[place])
        if self.style == "points":
            return Point(self._moved(place, truth.shape, random), include)
        # On a slice an error may be missing here and too much there: only the part of the voxel's side is drawn.
        side = error & (truth == include)
        return self._drawn(side, place, include, random)

    def box(self, truth: Bools) -> Box:
        """The first prompt of the challenge: a rectangle around the structure on its middle slice along k."""
        slices = np.flatnonzero(truth.any(axis=(1, 2)))
        counts = truth.sum(axis=(1, 2))[slices].cumsum()
        middle = int(slices[np.searchsorted(counts, counts[-1] // 2, side="right")])
        rows, columns = np.nonzero(truth[middle])
        low, high = [0, rows.min(), columns.min()], [0, rows.max() + 1, columns.max() + 1]
        random = np.random.RandomState(self.seed)
        for axis in (1, 2):  # one that is drawn with an unsure hand is too large rather than too small
            low[axis] = max(0, low[axis] - random.randint(self.noise + 1))
            high[axis] = min(truth.shape[axis], high[axis] + random.randint(self.noise + 1))
        return Box(Region((middle, int(low[1]), int(low[2])), (middle + 1, int(high[1]), int(high[2]))))

    def _moved(self, place: Index, shape: tuple[int, ...], random: np.random.RandomState) -> Index:
        steps = random.randint(-self.noise, self.noise + 1, 3)
        k, j, i = (int(np.clip(x + step, 0, n - 1)) for x, step, n in zip(place, steps, shape, strict=True))
        return k, j, i

    def _drawn(self, side: Bools, place: Index, include: bool, random: np.random.RandomState) -> Prompt:
        """A stroke through, or a contour around, the piece of `side` on the slice through `place`."""
        from scipy import ndimage

        axis = AXES[self.plane]
        pieces, _ = ndimage.label(np.take(side, place[axis], axis), np.ones((3, 3)))
        middle = tuple(x for number, x in enumerate(place) if number != axis)
        piece = pieces == pieces[middle]
        painted = np.asarray(ndimage.binary_fill_holes(piece)) if self.style == "lassos" else _stroke(piece, middle)
        steps = random.randint(-self.noise, self.noise + 1, 2)
        rows, columns = np.nonzero(painted)
        rows = np.clip(rows + steps[0], 0, painted.shape[0] - 1)
        columns = np.clip(columns + steps[1], 0, painted.shape[1] - 1)
        low = np.array([rows.min(), columns.min()])
        voxels = np.zeros((int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1), np.bool_)
        voxels[rows - low[0], columns - low[1]] = True
        first = np.insert(low, axis, place[axis])
        k, j, i = (int(x) for x in first)
        drawn = np.expand_dims(voxels, axis)
        region = Region((k, j, i), (k + drawn.shape[0], j + drawn.shape[1], i + drawn.shape[2]))
        return (Lasso if self.style == "lassos" else Scribble)(region, drawn, include)


def _largest(mask: Bools) -> Bools:
    """The largest piece of a mask; an empty one as it is."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    return np.asarray(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1) if count else mask


def _deepest(mask: Bools, random: np.random.RandomState) -> Index:
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    deepest = np.argwhere(depth == depth.max())
    k, j, i = (int(x) for x in deepest[random.choice(len(deepest))])
    return k, j, i


def _stroke(piece: NDArray[np.bool_], middle: tuple[int, ...]) -> NDArray[np.bool_]:
    """A straight stroke through `middle` along the piece's longest direction, as far as it lies inside the piece."""
    places = np.argwhere(piece).astype(float)
    spread = np.cov((places - places.mean(axis=0)).T) if len(places) > 2 else np.eye(2)
    direction = np.linalg.eigh(spread)[1][:, -1]
    painted = np.zeros_like(piece)
    painted[middle] = True
    for sign in (-1, 1):
        for step in range(1, 2 * max(piece.shape)):
            row, column = (round(x) for x in np.asarray(middle) + sign * step / 2 * direction)
            inside = 0 <= row < piece.shape[0] and 0 <= column < piece.shape[1]
            if not (inside and piece[row, column]):
                break
            painted[row, column] = True
    return painted


def _plus(one: Index, other: Index) -> Index:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
