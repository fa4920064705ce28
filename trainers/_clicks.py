"""Simulated clicks: inside a structure, and then on the largest error."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from app.core.volume import Index


def random_inside(area: NDArray[np.bool_], rng: np.random.Generator) -> Index | None:
    """A random voxel of `area` `(k, j, i)`, weighted by its distance from the border (as MONAI's
    `AddInitialSeedPoint`); None if the area is empty."""
    if not area.any():
        return None
    depth = distance_transform_edt(np.pad(area, 1))[1:-1, 1:-1, 1:-1] ** 2
    at = rng.choice(area.size, p=(depth / depth.sum()).ravel())
    return cast(Index, tuple(int(x) for x in np.unravel_index(at, area.shape)))


def correction(
    predicted: NDArray[np.bool_], wanted: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Index, bool] | None:
    """A click on the missing or the excess voxels, whichever are more, and whether it includes; None without errors."""
    missing, excess = wanted & ~predicted, predicted & ~wanted
    include = bool(missing.sum() >= excess.sum())
    at = random_inside(missing if include else excess, rng)
    return (at, include) if at is not None else None
