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
    """The metadata of a submitted mask. `client` is the program that sent it; `model` is what it was made with
    (`model_version` "": the served version); `info` are the client's notes."""

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
    client sent: submitting is idempotent, the same bytes from the same author return the same version.
    `model` is what the label was made with, `model_version` the weights. `created` is UTC.
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
    """One submission of a label by an author. `created` is in seconds since the epoch."""

    case_id: str
    author: str
    created: float


DeliveryState = Literal["waiting", "delivered", "refused"]
"""The delivery of a label to the archive. `refused`: retrying won't help until a person has done something."""


@dataclass(frozen=True)
class OutboxState:
    """How many labels are in each state, and the last error. `oldest` is for how many seconds the oldest waiting label
    has been due."""

    waiting: int
    delivered: int
    refused: int
    oldest: float
    error: str


@dataclass(frozen=True)
class PendingDelivery:
    """A label that the archive hasn't confirmed. `error` is that of the last of `attempts` attempts, "" before the
    first; `advice` is what a user can do, "" while it is retried automatically. `next_try` (meaningless once refused)
    and `created` are in seconds since the epoch."""

    label_id: int
    state: DeliveryState
    attempts: int
    error: str
    advice: str
    next_try: float
    created: float
