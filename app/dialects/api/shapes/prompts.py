"""What an annotator did, as browsers and programs send it. Indices are [k, j, i], boxes half-open."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Triple = tuple[int, int, int]
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Continuous = tuple[Coordinate, Coordinate, Coordinate]

MOST_POINTS = 20_000


class _Part(BaseModel):
    # A misspelt key would silently mean the opposite of what was drawn.
    model_config = ConfigDict(extra="forbid")


class PointPrompt(_Part):
    """A click on one voxel."""

    type: Literal["point"]
    at: Triple
    include: bool = True


class BoxPrompt(_Part):
    """A box around the structure, or around what isn't part of it."""

    type: Literal["box"]
    low: Triple
    high: Triple
    include: bool = True


class DrawnPrompt(_Part):
    """Voxels painted over (`scribble`), or a filled outline (`lasso`): base64 of the bits of the box, C
    order, the highest bit first (numpy.packbits)."""

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
    """A mask to start from: base64 of the bits of the whole volume. Forgets every earlier prompt."""

    type: Literal["mask"]
    voxels: str
    refine: bool = False


PromptShape = Annotated[
    PointPrompt | BoxPrompt | DrawnPrompt | PolylinePrompt | PolygonPrompt | MaskPrompt, Field(discriminator="type")
]


class PromptsRequest(_Part):
    """Prompts in the order in which they were given. Without `predict` they are only noted, and take part in the next
    prediction."""

    prompts: list[PromptShape] = Field(min_length=1, max_length=1000)
    predict: bool = True
