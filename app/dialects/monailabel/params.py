"""The parameters of `/infer/` in the clients' format: voxel indices are `[i, j, k]` here.

Protocol: docs/protocols/monailabel.md, sections 5.1 and 5.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.core.model import ModelCard, Option
from app.errors import BadInput
from app.http.errors import problems

Points = list[Annotated[list[float], Field(min_length=3, max_length=3)]]


class LabelEntry(BaseModel):
    """One structure of a `label_info` list. Scribbles use `id` as the voxel value; saved labels go by position."""

    model_config = ConfigDict(extra="ignore")
    name: str
    id: int | None = None


class InferParams(BaseModel):
    """The supported keys of `params`. `image`, `model` and `output` in it are ignored."""

    model_config = ConfigDict(extra="ignore")
    client_id: str = ""
    label: str = ""
    foreground: Points = []
    background: Points = []
    roi: list[float] = []
    slice: int | float | None = None
    reset_state: bool = False
    result_compress: bool = True
    label_info: list[LabelEntry] = []
    selected_label_name: str = ""
    save_label: bool = False
    label_tag: str = ""


class _LabelPoints(BaseModel):
    points: Points


def read_params(raw: Mapping[str, Any]) -> InferParams:
    """Parse `params`; null counts as missing. Raises `BadInput`."""
    try:
        params = InferParams.model_validate({key: value for key, value in raw.items() if value is not None})
    except ValidationError as error:
        raise BadInput(f"params: {'; '.join(problems(error))}") from error
    if len(params.roi) not in (0, 6):
        raise BadInput(f"params: roi is [] or [i0, i1, j0, j1, k0, k1], not {len(params.roi)} numbers")
    return params


def points_by_label(raw: Mapping[str, Any], labels: Sequence[str]) -> dict[str, list[list[float]]]:
    """deepedit's points: one key per structure, and `background`. Raises `BadInput`."""
    found = {}
    for name in (*labels, "background"):
        try:
            found[name] = _LabelPoints(points=raw.get(name) or []).points
        except ValidationError as error:
            raise BadInput(f"params: {name}: {'; '.join(problems(error))}") from error
    return found


def options_of(card: ModelCard, raw: Mapping[str, Any]) -> dict[str, Option]:
    """All of a model's options: what the caller set, else the default (docs/protocols/monailabel.md, section 3.2).

    Slicer always sends every option, OHIF only the changed ones; normalising them gives both the same cache key. A
    choice may be sent as the list from `/info/`, an empty text field as "", an integer as 3.0.
    """
    options: dict[str, Option] = {}
    for name, offer in card.options.items():
        default = offer[0] if isinstance(offer, tuple) else offer
        value = raw.get(name)
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(default, int) and isinstance(value, float) and value.is_integer():
            value = int(value)
        options[name] = default if value is None or value == "" else value
    return options
