"""Validation of volumes and prompts, common to all models."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Region, Scribble
from app.core.volume import Index, Volume
from app.errors import BadInput, BadPrompt

NAMES: dict[type[Prompt], str] = {
    Point: "points",
    Box: "boxes",
    Scribble: "scribbles",
    Lasso: "lassos",
    InitialMask: "initial masks",
}


def check_volume(volume: Volume) -> None:
    """Raise `BadInput` for voxels that can't be normalised: not real numbers, not finite, or constant."""
    voxels = volume.voxels
    if voxels.dtype.kind not in "biuf":
        raise BadInput(f"the voxels are of type {voxels.dtype}; a model needs real numbers")
    low, high = voxels.min(), voxels.max()  # NaN propagates to min and max
    if not (np.isfinite(low) and np.isfinite(high)):
        raise BadInput("the volume has voxels that are not finite (NaN or infinite); repair it and open it again")
    if low == high:
        raise BadInput(f"every voxel of the volume is {low}; there is nothing to segment")


def check_prompt(prompt: Prompt, shape: Index, accepts: Collection[type[Prompt]]) -> None:
    """Raise `BadPrompt` for a type not accepted, a position outside the volume `(k, j, i)`, or an empty drawing."""
    if type(prompt) not in accepts:
        takes = ", ".join(name for kind, name in NAMES.items() if kind in accepts)
        raise BadPrompt(f"this model takes no {NAMES[type(prompt)]}; it takes {takes}")
    if isinstance(prompt, Point):
        if not all(0 <= x < n for x, n in zip(prompt.at, shape, strict=True)):
            raise BadPrompt(f"the point {prompt.at} lies outside the volume of {shape} voxels (slice, row, column)")
    elif isinstance(prompt, InitialMask):
        if prompt.voxels.shape != shape:
            raise BadPrompt(f"the mask has {prompt.voxels.shape} voxels, the volume {shape} (slice, row, column)")
    else:
        _check_region(prompt.region, shape, NAMES[type(prompt)])
        if isinstance(prompt, Scribble | Lasso) and not prompt.voxels.any():
            raise BadPrompt("nothing was drawn: the scribble or lasso has no voxels")


def _check_region(region: Region, shape: Index, what: str) -> None:
    if not region.within(shape):
        raise BadPrompt(
            f"{what} must lie inside the volume of {shape} voxels (slice, row, column);"
            f" this one goes from {region.low} to {region.high}"
        )
