"""Simulated clicks from the ground truth: in the middle of a structure, then of the largest error.

The usual simulated user of interactive segmentation (Sakinis et al., arXiv 1903.08205).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from app.core.prompt import Region
from app.core.volume import Index

Bools = NDArray[np.bool_]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Click:
    """A clicked voxel `(k, j, i)`, and whether it belongs to the structure."""

    at: Index
    include: bool


def next_click(truth: Bools, mask: Bools, spacing: Spacing) -> Click | None:
    """A click in the largest connected error, `spacing` in mm along `(k, j, i)`; None without errors."""
    missed, wrong = largest_piece(truth & ~mask), largest_piece(mask & ~truth)
    include = missed.sum() >= wrong.sum()
    worst = missed if include else wrong
    return Click(middle(worst, spacing), bool(include)) if worst.any() else None


def middle(mask: Bools, spacing: Spacing) -> Index:
    """The voxel of a mask that is farthest from its border, in mm; of several, the one closest to their centre.

    Raises `ValueError` for an empty mask.
    """
    region = Region.around(mask)
    if region is None:
        raise ValueError("an empty mask has no middle")
    padded = np.pad(mask[region.slices], 1)
    depth = ndimage.distance_transform_edt(padded, sampling=spacing)
    deepest = np.argwhere(depth >= 0.999 * depth.max())
    amid = np.linalg.norm((deepest - deepest.mean(axis=0)) * spacing, axis=1).argmin()
    k, j, i = (int(x) for x in deepest[amid] - 1 + region.low)
    return k, j, i


def largest_piece(mask: Bools) -> Bools:
    """The largest connected component; an empty mask is returned unchanged."""
    pieces, count = ndimage.label(mask)
    return mask if count < 2 else np.asarray(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)
