"""Prompts in JSON, and decoding them. Indices are [k, j, i], boxes half-open."""

from __future__ import annotations

from typing import Annotated, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field

from app.core.drawing import polygon_lasso, polyline_scribble
from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Region, Scribble
from app.core.volume import Index
from app.dialects.api.common import unpack_bits
from app.errors import BadPrompt

Triple = tuple[int, int, int]
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Continuous = tuple[Coordinate, Coordinate, Coordinate]

MOST_POINTS = 20_000


class _Part(BaseModel):
    # An ignored misspelt key, such as "includ", could mean the opposite of what was drawn.
    model_config = ConfigDict(extra="forbid")


class PointPrompt(_Part):
    """A click on one voxel."""

    type: Literal["point"]
    at: Triple
    include: bool = True


class BoxPrompt(_Part):
    """A box around the structure, or, excluding, around something else."""

    type: Literal["box"]
    low: Triple
    high: Triple
    include: bool = True


class DrawnPrompt(_Part):
    """Painted voxels (`scribble`) or a filled outline (`lasso`): base64 of the bits of the box, C order, the highest
    bit first (numpy.packbits)."""

    type: Literal["scribble", "lasso"]
    low: Triple
    high: Triple
    include: bool = True
    voxels: str


class PolylinePrompt(_Part):
    """A stroke of a round pen. `points` are continuous indices; `radius` is in voxels."""

    type: Literal["polyline_scribble"]
    points: list[Continuous] = Field(min_length=1, max_length=MOST_POINTS)
    radius: float = Field(ge=0, le=1000, allow_inf_nan=False)
    include: bool = True


class PolygonPrompt(_Part):
    """A closed outline on one slice across `axis` (0: k, 1: j, 2: i), filled even-odd. `points` are continuous."""

    type: Literal["polygon_lasso"]
    axis: Literal[0, 1, 2]
    points: list[Continuous] = Field(min_length=3, max_length=MOST_POINTS)
    include: bool = True


class MaskPrompt(_Part):
    """An initial mask: base64 of the bits of the whole volume. Removes every earlier prompt."""

    type: Literal["mask"]
    voxels: str
    refine: bool = False


PromptShape = Annotated[
    PointPrompt | BoxPrompt | DrawnPrompt | PolylinePrompt | PolygonPrompt | MaskPrompt, Field(discriminator="type")
]


Batch = Annotated[str, Field(max_length=64, description="steps in a row of the same batch are undone together")]


class PromptsRequest(_Part):
    """Prompts in the order in which they were made. Without `predict` they are only recorded, for the next
    prediction."""

    prompts: list[PromptShape] = Field(min_length=1, max_length=1000)
    predict: bool = True
    batch: Batch = ""


KINDS: dict[type[Prompt], str] = {Point: "point", Box: "box", Scribble: "scribble", Lasso: "lasso", InitialMask: "mask"}
"""The name of each type of prompt, in the order in which they are listed."""


def decoded(sent: PromptShape, shape: Index) -> Prompt:
    """Decode a prompt on a volume of `shape` `(k, j, i)`. Raises `BadPrompt`."""
    match sent:
        case PointPrompt():
            return Point(sent.at, sent.include)
        case BoxPrompt():
            return Box(region_of(sent.low, sent.high, shape), sent.include)
        case DrawnPrompt():
            region = region_of(sent.low, sent.high, shape)
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


def region_of(low: Index, high: Index, shape: Index) -> Region:
    """The box as a region, checked against the volume before anything of its size is allocated."""
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
