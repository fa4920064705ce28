"""Requests become prompts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import Box, Lasso, Point, Region, Scribble
from app.core.volume import Index
from app.dialects.nninteractive.requests import BoxBody, DrawnMeta, PointBody
from app.errors import BadPrompt


def decode_point(body: PointBody) -> Point:
    """Rounded as the library does; where it lies is for the model to judge."""
    k, j, i = (round(x) for x in body.coordinates)
    return Point((k, j, i), body.include_interaction)


def is_thick(body: BoxBody) -> bool:
    """Whether a box, as it was sent, is more than one voxel thick whichever way one looks at it."""
    return all(high - low != 1 for low, high in _bounds(body.bbox_coords))


def decode_box(body: BoxBody, shape: Index) -> Box:
    """A box, clipped to the image. Raises `BadPrompt` for a box with nothing in it, or outside the image."""
    bounds = _bounds(body.bbox_coords)
    clipped = [(max(low, 0), min(high, n)) for (low, high), n in zip(bounds, shape, strict=True)]
    if any(high <= low for low, high in clipped):
        raise BadPrompt(f"the box {bounds} is empty, or outside the image of {shape} voxels")
    return Box(_region(clipped), body.include_interaction)


def decode_drawn(
    kind: type[Scribble | Lasso], meta: DrawnMeta, drawn: NDArray[np.generic], shape: Index
) -> Scribble | Lasso:
    """A drawing: what isn't zero. Only the part of it that is painted is kept.

    Raises `BadPrompt` for a drawing of another shape than its box, or outside the image, or with nothing in it.
    """
    bounds = [(0, n) for n in shape] if meta.interaction_bbox is None else _bounds(meta.interaction_bbox)
    check_drawn(meta, drawn.shape, shape)
    mask = painted(drawn)
    filled = Region.around(mask)
    if filled is None:
        raise BadPrompt("nothing was drawn: every voxel of the mask is zero")
    low = [start + offset for (start, _), offset in zip(bounds, filled.low, strict=True)]
    region = _region([(start, start + n) for start, n in zip(low, filled.shape, strict=True)])
    return kind(region, mask[filled.slices], meta.include_interaction)


def check_drawn(meta: DrawnMeta, drawn: tuple[int, ...], shape: Index) -> None:
    """Whether a drawing of shape `drawn` can be one on an image of `shape`. Needs no voxels. Raises `BadPrompt`."""
    bounds = [(0, n) for n in shape] if meta.interaction_bbox is None else _bounds(meta.interaction_bbox)
    if any(low < 0 or high <= low or high > n for (low, high), n in zip(bounds, shape, strict=True)):
        raise BadPrompt(f"interaction_bbox {bounds} is no box inside the image of {shape} voxels")
    size = tuple(high - low for low, high in bounds)
    if drawn != size:
        raise BadPrompt(f"the drawing has shape {drawn}, its box {size}")


def painted(drawn: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which voxels aren't zero. A bool that came over the wire may have any bits, so its bytes are looked at."""
    return np.not_equal(drawn.view(np.uint8) if drawn.dtype == np.bool_ else drawn, 0)


def _bounds(box: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    return [(round(low), round(high)) for low, high in box]


def _region(bounds: Sequence[tuple[int, int]]) -> Region:
    (k0, k1), (j0, j1), (i0, i1) = bounds
    return Region((k0, j0, i0), (k1, j1, i1))
