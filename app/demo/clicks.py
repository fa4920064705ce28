"""Where an annotator clicks, knowing the truth: into the middle of a structure, then into the worst error.

Sakinis et al., arXiv 1903.08205: the usual robot user of interactive segmentation.
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
    """A voxel `(k, j, i)` that belongs to the structure, or doesn't."""

    at: Index
    include: bool


def next_click(truth: Bools, mask: Bools, spacing: Spacing) -> Click | None:
    """A click into the largest connected error, `spacing` in mm along `(k, j, i)`; None if there is no error."""
    missed, wrong = largest_piece(truth & ~mask), largest_piece(mask & ~truth)
    include = missed.sum() >= wrong.sum()
    worst = missed if include else wrong
    return Click(middle(worst, spacing), bool(include)) if worst.any() else None


def middle(mask: Bools, spacing: Spacing) -> Index:
    """The voxel of a mask that is farthest from its border, in mm; of several, the one amid them."""
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
    """The largest connected piece; an empty mask as it is."""
    pieces, count = ndimage.label(mask)
    return mask if count < 2 else np.asarray(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)
