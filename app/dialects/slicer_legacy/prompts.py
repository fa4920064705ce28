"""Decoding prompts. Arrays and coordinates are `(k, j, i)` on this wire already.

Protocol: docs/protocols/slicer-legacy.md, section 2.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from app.core.prompt import Box, Lasso, Point, Region, Scribble
from app.core.volume import Index
from app.errors import BadPrompt

_Voxel = Annotated[list[int], Field(min_length=3, max_length=3)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    positive_click: bool = True


class PointBody(_Body):
    voxel_coord: _Voxel


class BoxBody(_Body):
    outer_point_one: _Voxel
    outer_point_two: _Voxel


def decode_point(body: PointBody) -> Point:
    k, j, i = body.voxel_coord
    return Point((k, j, i), body.positive_click)


def decode_box(body: BoxBody, shape: Index) -> Box:
    """A box from two opposite corners, both included, in any order, clipped to the volume.

    Raises `BadPrompt` if it is outside the volume.
    """
    pairs = [sorted(ends) for ends in zip(body.outer_point_one, body.outer_point_two, strict=True)]
    clipped = [(max(low, 0), min(high + 1, n)) for (low, high), n in zip(pairs, shape, strict=True)]
    if any(high <= low for low, high in clipped):
        raise BadPrompt(f"the box {pairs} lies outside the volume of {shape} voxels (slice, row, column)")
    (k0, k1), (j0, j1), (i0, i1) = clipped
    return Box(Region((k0, j0, i0), (k1, j1, i1)), body.positive_click)


def decode_drawn(kind: type[Scribble | Lasso], mask: NDArray[np.bool_], include: bool) -> Scribble | Lasso:
    """A drawing on the whole volume, cropped to the painted region. Raises `BadPrompt` if nothing is painted."""
    region = Region.around(mask)
    if region is None:
        raise BadPrompt("nothing was drawn")
    return kind(region, mask[region.slices], include)


def is_positive(text: str) -> bool:
    """The form field `positive_click`, parsed as the original server does."""
    return text.strip().lower() in ("true", "1", "yes")
