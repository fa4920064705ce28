"""How good a mask is, and how good a sequence of masks: the figures of the CVPR 2025 challenge "Foundation Models for
Interactive 3D Biomedical Image Segmentation" (its public evaluation script, `CVPR25_iter_eval.py`)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import Region

Bools = NDArray[np.bool_]

TOLERANCE = 2.0
"""Of the normalised surface Dice, in mm."""

SURFACE_FROM = 0.2
"""The challenge doesn't compute the surface Dice of an image whose mean Dice isn't above this: it counts as 0."""

AUC_CLICKS = 5
"""The challenge's area is under the curve of the last so many prompts, the clicks; what a box reached is left out."""


def dice(truth: Bools, mask: Bools) -> float:
    """Dice coefficient of two masks `(k, j, i)`; 1 for two empty ones."""
    total = int(truth.sum()) + int(mask.sum())
    return 2 * int((truth & mask).sum()) / total if total else 1.0


def surface_dice(truth: Bools, mask: Bools, spacing: tuple[float, float, float], tolerance: float = TOLERANCE) -> float:
    """Normalised surface Dice (Nikolov et al., arXiv 1809.04430): the share of both surfaces, by their area, that lies
    within `tolerance` mm of the other. `spacing` in mm along `(k, j, i)`. 1 for two empty masks, 0 if one is empty."""
    import torch
    from monai.metrics.surface_dice import compute_surface_dice

    region = Region.around(truth | mask)
    if region is None:
        return 1.0
    if not (truth.any() and mask.any()):
        return 0.0
    one, other = (torch.from_numpy(np.pad(a[region.slices], 1)[None, None]) for a in (mask, truth))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI's, of an argument that MONAI itself passes
        found = compute_surface_dice(
            one, other, [tolerance], include_background=True, spacing=[float(x) for x in spacing], use_subvoxels=True
        )
    return float(found[0, 0])


def area_under(scores: Sequence[float], clicks: int = AUC_CLICKS) -> float:
    """The area under the scores of the last `clicks` prompts by the trapezoid rule, one click a unit: at most
    `clicks - 1`."""
    last = np.asarray(scores[-clicks:], float)
    return float(((last[1:] + last[:-1]) / 2).sum())


def surface_of_image(dices: Sequence[float], surfaces: Sequence[float]) -> float:
    """The mean surface Dice of an image's structures as the challenge counts it."""
    return float(np.mean(surfaces)) if float(np.mean(dices)) > SURFACE_FROM else 0.0
