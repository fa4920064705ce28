"""Prompts of the wire become prompts of the house."""

from __future__ import annotations

from typing import assert_never

from app.core.drawing import polygon_lasso, polyline_scribble
from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Region, Scribble
from app.core.volume import Index
from app.dialects.api.shapes.prompts import (
    BoxPrompt,
    DrawnPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    PolylinePrompt,
    PromptShape,
)
from app.dialects.api.voxels import unpack_bits
from app.errors import BadPrompt

KINDS: dict[type[Prompt], str] = {Point: "point", Box: "box", Scribble: "scribble", Lasso: "lasso", InitialMask: "mask"}
"""What each kind is called, in the order in which kinds are listed."""


def decoded(sent: PromptShape, shape: Index) -> Prompt:
    """A prompt on a volume of `shape` `(k, j, i)`. Raises `BadPrompt`."""
    match sent:
        case PointPrompt():
            return Point(sent.at, sent.include)
        case BoxPrompt():
            return Box(_region(sent.low, sent.high, shape), sent.include)
        case DrawnPrompt():
            region = _region(sent.low, sent.high, shape)
            kind = Scribble if sent.type == "scribble" else Lasso
            return kind(region, unpack_bits(sent.voxels, region.shape), sent.include)
        case PolylinePrompt():
            return _drawn(sent, shape)
        case PolygonPrompt():
            return _drawn(sent, shape)
        case MaskPrompt():
            return InitialMask(unpack_bits(sent.voxels, shape), sent.refine)
        case _:
            assert_never(sent)


def _region(low: Index, high: Index, shape: Index) -> Region:
    """Checked against the volume before anything of its size is made."""
    try:
        region = Region(low, high)
    except ValueError as error:
        raise BadPrompt(str(error)) from error
    if not region.within(shape):
        raise BadPrompt(f"from {low} to {high} is not within the volume of {shape} voxels (slice, row, column)")
    return region


def _drawn(sent: PolylinePrompt | PolygonPrompt, shape: Index) -> Scribble | Lasso:
    try:
        drawing: Scribble | Lasso | None
        if isinstance(sent, PolylinePrompt):
            drawing = polyline_scribble(sent.points, sent.radius, shape, sent.include)
        else:
            drawing = polygon_lasso(sent.points, sent.axis, shape, sent.include)
    except ValueError as error:
        raise BadPrompt(str(error)) from error
    if drawing is None:
        raise BadPrompt(f"no voxel of the volume of {shape} (slice, row, column) lies in what was drawn")
    return drawing
