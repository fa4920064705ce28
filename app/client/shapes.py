"""What `/api/v1` answers with. Fields that are not named here are ignored; tests compare those that are with the
server's description of itself. Times have a zone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Model(_Answer):
    """A model. `kind` is interactive, deepedit, scribbles or automatic; `labels` are the structures that it knows."""

    name: str
    kind: str
    description: str
    labels: list[str]
    version: str
    licence: str
    ready: bool
    accepts: list[str]
    trainable: bool


class Strategy(_Answer):
    name: str
    description: str


class Progress(_Answer):
    """The number of cases, and of those with a final label."""

    total: int
    completed: int


class ServerInfo(_Answer):
    """What a server offers."""

    name: str
    version: str
    structures: list[str]
    default_model: str | None
    models: list[Model]
    strategies: list[Strategy]
    default_strategy: str
    progress: Progress


class Case(_Answer):
    """One image. `problem` says why it can't be opened, "" if it can."""

    id: str
    kind: str
    patient_id: str
    study_uid: str
    series_uid: str
    modality: str
    description: str
    study_date: str
    completed: bool
    problem: str


class Grid(_Answer):
    shape: tuple[int, int, int]
    affine: list[list[float]]


class Page(_Answer):
    total: int
    cases: list[Case]


class Offer(_Answer):
    """A case claimed for the caller until `expires`, and why it was picked."""

    case: Case
    reason: str
    expires: datetime


class OpenedSession(_Answer):
    id: str
    name: str
    case_id: str
    model: str
    shape: tuple[int, int, int]


class Session(_Answer):
    """What everybody may know of a session, of any viewer. `matched_case_id` is the case of its image, if known."""

    name: str
    client: str
    who: str
    case_id: str
    matched_case_id: str | None
    model: str
    opened: datetime
    used: datetime
    steps: int
    open: bool
    label_id: int | None


class ChangedRegion(_Answer):
    low: tuple[int, int, int]
    high: tuple[int, int, int]


class Change(_Answer):
    region: ChangedRegion | None
    voxels: str | None


class Undone(Change):
    undone: bool


class Redone(Change):
    redone: bool


class LabelVersion(_Answer):
    """One version of a case's label. `delivered`: whether the archive confirmed it; None if it isn't sent there."""

    id: int
    case_id: str
    tag: str
    number: int
    author: str
    client: str
    model: str
    comment: str
    created: datetime
    structures: list[str]
    states: dict[str, str]
    delivered: bool | None
    sha256: str


class SubmittedLabel(LabelVersion):
    """A session's label. `matched` says whether the session's image was found in the archive."""

    matched: bool


class Job(_Answer):
    """Training or scoring. `message` is its result, "" before it has ended."""

    id: str
    kind: str
    model: str
    state: str
    progress: float
    message: str

    @property
    def ended(self) -> bool:
        return self.state not in ("queued", "running")


class Version(_Answer):
    """A version of a model. `served` marks the one in use."""

    id: str
    number: int
    state: str
    served: bool
    reason: str
    metrics: dict[str, Any]
    created: datetime


class Export(_Answer):
    """An export. `left_out` says by case id why a case isn't in it; `message` why it failed."""

    id: str
    state: str
    progress: float
    cases: int
    left_out: dict[str, str]
    notes: list[str]
    message: str


class PackedVoxels(_Answer):
    """`structures` of a label, `labels` (values by name) of a model's answer."""

    shape: tuple[int, int, int]
    voxels: str
    structures: list[str] = []
    labels: dict[str, int] = {}


@dataclass(frozen=True, eq=False)
class LabelVoxels:
    """A label map, uint8 `(k, j, i)`, and the value of each structure in it."""

    labelmap: NDArray[np.uint8]
    values: Mapping[str, int]


@dataclass(frozen=True)
class Event:
    """What happened (docs/api.md): `job`, `label`, `delivery`, `progress`, `patches`. `id` is for `Client.events`."""

    kind: str
    id: str
    data: Mapping[str, Any]
