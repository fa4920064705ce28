"""What requests say: JSON bodies, and the JSON in the header `X-Meta` beside an array.

Protocol: docs/protocols/nninteractive.md, section 2.

Everything here keeps the axis order of the image that was sent, `(k, j, i)` for 3D Slicer.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from app.core.prompt import Box, Lasso, Point, Region, Scribble
from app.core.volume import Index
from app.errors import BadInput, BadPrompt
from app.http.errors import problems

META_HEADER = "X-Meta"

Bounds = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
Corners = Annotated[list[Bounds], Field(min_length=3, max_length=3)]


class _Said(BaseModel):
    """Unknown keys are ignored: clients of later versions send more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Prompted(_Said):
    include_interaction: bool
    run_prediction: bool = True
    override_capability_checks: bool = False


class PointBody(Prompted):
    coordinates: Annotated[list[FiniteFloat], Field(min_length=3, max_length=3)]


class BoxBody(Prompted):
    """`bbox_coords` are half-open pairs."""

    bbox_coords: Corners


class DrawnMeta(Prompted):
    """`interaction_bbox`: where the drawing lies, half-open pairs; it is as large as the image without."""

    interaction_bbox: Corners | None = None


class InitialMeta(_Said):
    run_prediction: bool = False
    override_capability_checks: bool = False


class ImageMeta(_Said):
    image_properties: dict[str, Any] | None = None

    @property
    def spacing(self) -> tuple[float, float, float]:
        """The spacing along the image's axes in millimetres, 1 mm for missing or invalid values: the original server
        ignores this field, so it can't be a reason to reject an image."""
        given = (self.image_properties or {}).get("spacing")
        if isinstance(given, list) and len(given) == 3 and all(_is_length(x) for x in given):
            first, second, third = (float(x) for x in given)
            return first, second, third
        return 1.0, 1.0, 1.0


class TargetBody(_Said):
    """`dtype`: of the client's buffer, a name of numpy's."""

    shape: Annotated[list[Annotated[int, Field(strict=True, gt=0)]], Field(min_length=3, max_length=3)]
    dtype: str

    @property
    def buffer_type(self) -> np.dtype[np.generic]:
        """Raises `BadInput` for anything but bool and integers."""
        try:
            found = np.dtype(self.dtype)
        except (TypeError, ValueError, SyntaxError) as error:
            raise BadInput(f"invalid dtype: {self.dtype!r}") from error
        if found.kind not in "biu":
            raise BadInput(f"unsupported dtype {found}: a target buffer is bool or of an integer type")
        return found.newbyteorder("=")


class ZoomBody(_Said):
    do_autozoom: bool


class PredictBody(_Said):
    force_full_refine: bool = False


Meta = TypeVar("Meta", bound=_Said)


def meta_of(request: Request, kind: type[Meta]) -> Meta:
    """The header `X-Meta`; missing is `{}`. Raises `BadInput`."""
    try:
        return kind.model_validate_json(request.headers.get(META_HEADER) or "{}")
    except ValidationError as error:
        raise BadInput(f"bad {META_HEADER}: {'; '.join(problems(error))}") from error


def _is_length(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value) and value > 0


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
    """The non-zero voxels of a drawing, cropped to the painted region.

    Raises `BadPrompt` for a drawing of another shape than its box, outside the image, or empty.
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
    """The non-zero voxels. A bool from the wire may have any bits set, so its bytes are compared."""
    return np.not_equal(drawn.view(np.uint8) if drawn.dtype == np.bool_ else drawn, 0)


def _bounds(box: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    return [(round(low), round(high)) for low, high in box]


def _region(bounds: Sequence[tuple[int, int]]) -> Region:
    (k0, k1), (j0, j1), (i0, i1) = bounds
    return Region((k0, j0, i0), (k1, j1, i1))
