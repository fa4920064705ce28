"""Small volumes whose structures are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Geometry, Index, Volume


def ball_mask(shape: Index, centre: Index, radius: float) -> NDArray[np.bool_]:
    grid = np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))
    return np.sqrt((grid**2).sum(axis=0)) <= radius


def ball_volume(
    shape: Index = (24, 28, 32), centre: Index = (11, 13, 17), radius: float = 7, seed: int = 0, spacing: float = 1.0
) -> Volume:
    """A bright ball (100) in dim noise (0 +- 10), int16."""
    noise = np.random.default_rng(seed).normal(0, 10, shape)
    voxels = np.round(noise + 100 * ball_mask(shape, centre, radius)).astype(np.int16)
    return Volume(voxels, Geometry(shape, np.diag([spacing, spacing, spacing, 1.0])), "CT")
