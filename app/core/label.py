"""A submitted mask: a stored, numbered, never overwritten version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from app.core.mask import Segment

FINAL = "final"
"""The tag of labels that a person approved: they count as completed and are trained on."""

ORIGINAL = "original"
"""The tag of labels that a model made."""


@dataclass(frozen=True)
class Submission:
    """What comes with a mask that becomes a label: who submits it, through which program, under which tag, what it was
    made with (`model_version` "" means the weights served now), and what the client notes about it."""

    author: str
    client: str
    tag: str = FINAL
    model: str = ""
    model_version: str = ""
    comment: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Label:
    """One version of the label of a case under a tag.

    `number` counts from 1 per `(case_id, tag)`. `sha256` is the digest of the stored file `path` (relative to the
    label store), a DICOM SEG for series and a NIfTI for volume files. `submitted_sha256` is the digest of what the
    client sent: a retry of the same bytes by the same author answers with the same version.
    `model` is what the label was made with, `model_version` which weights. `created` is UTC.
    """

    id: int
    case_id: str
    tag: str
    number: int
    path: str
    sha256: str
    submitted_sha256: str
    sop_instance_uid: str
    segments: tuple[Segment, ...]
    author: str
    client: str
    model: str
    model_version: str
    comment: str
    created: datetime
    deleted: bool = False


@dataclass(frozen=True)
class Contribution:
    """That someone submitted a version, and when, in seconds since the epoch."""

    case_id: str
    author: str
    created: float


DeliveryState = Literal["waiting", "delivered", "refused"]
"""How far a label is on its way to the archive."""


@dataclass(frozen=True)
class OutboxState:
    """`oldest` is how many seconds the longest waiting label has waited since it should first have gone."""

    waiting: int
    delivered: int
    refused: int
    oldest: float
    error: str


@dataclass(frozen=True)
class Waiting:
    """A label that the archive doesn't have yet. `error` is why the last of `attempts` tries failed, "" before the
    first; `advice` is what a person can do, "" while waiting may help. `next_try`, and `created`, when it was made, are
    in seconds since the epoch; one that is refused has no next try."""

    label_id: int
    state: DeliveryState
    attempts: int
    error: str
    advice: str
    next_try: float
    created: float
