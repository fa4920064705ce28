"""What requests say: JSON bodies, and the JSON in the header `X-Meta` beside an array.

Protocol: docs/protocols/nninteractive.md, section 2.

Everything here keeps the axis order of the image that was sent, `(k, j, i)` for 3D Slicer.
"""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from app.errors import BadInput
from app.http.errors import problems

META_HEADER = "X-Meta"

Bounds = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
Box = Annotated[list[Bounds], Field(min_length=3, max_length=3)]


class _Said(BaseModel):
    """Keys that nobody asks for are left alone: clients of later versions say more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Prompted(_Said):
    include_interaction: bool
    run_prediction: bool = True
    override_capability_checks: bool = False


class PointBody(Prompted):
    coordinates: Annotated[list[FiniteFloat], Field(min_length=3, max_length=3)]


class BoxBody(Prompted):
    """`bbox_coords` are half-open pairs."""

    bbox_coords: Box


class DrawnMeta(Prompted):
    """`interaction_bbox`: where the drawing lies, half-open pairs; it is as large as the image without."""

    interaction_bbox: Box | None = None


class InitialMeta(_Said):
    run_prediction: bool = False
    override_capability_checks: bool = False


class ImageMeta(_Said):
    image_properties: dict[str, Any] | None = None

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres along the image's axes. 1 mm where nothing usable is said: the peer ignores all of this, so it
        can't be a reason to refuse an image."""
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
