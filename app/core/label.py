"""A submitted mask: a stored, numbered, never overwritten version."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from app.core.mask import Mask, Segment

FINAL = "final"
"""The tag of labels that a person approved: they count as completed and are trained on."""

ORIGINAL = "original"
"""The tag of labels that a model made."""

StructureState = Literal["segmented", "absent", "not_examined"]
"""What a label says of a structure. `absent`: somebody looked for it and it isn't in the image. `not_examined`: nothing
is known of it."""


def states_of(mask: Mask) -> dict[str, StructureState]:
    """What a mask says of each of its segments; a structure that has none is not examined.

    With voxels it is segmented, without it is absent: only what somebody marked as absent has an empty segment. An
    empty segment that a model made by itself (AUTOMATIC) is not examined.
    """
    filled = mask.filled
    states: dict[str, StructureState] = {}
    for segment in mask.segments:
        if segment.number in filled:
            states[segment.name] = "segmented"
        elif segment.name not in states:
            states[segment.name] = "not_examined" if segment.algorithm == "AUTOMATIC" else "absent"
    return states


def with_absent(mask: Mask, absent: Collection[str]) -> Mask:
    """The mask that says of `absent` that they are absent, and nothing of its other segments without voxels: those are
    dropped. Raises `ValueError` if one of `absent` has voxels."""
    filled = mask.filled
    drawn = [s.name for s in mask.segments if s.number in filled and s.name in absent]
    if drawn:
        raise ValueError(f"marked as absent, and segmented: {', '.join(drawn)}")
    kept = mask.keeping([s.number for s in mask.segments if s.number in filled or s.name in absent])
    listed = {s.name: replace(s, algorithm="MANUAL", algorithm_name="") for s in kept.segments if s.name in absent}
    segments = [listed.get(s.name, s) for s in kept.segments]
    for name in absent:
        if name not in listed:
            segments.append(Segment(len(segments) + 1, name, algorithm="MANUAL"))
    return Mask(kept.layers, tuple(segments), mask.geometry)


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
    label store), a DICOM SEG for series and a labelmap for volume files. `submitted_sha256` is the digest of what the
    client sent: submitting is idempotent, the same bytes from the same author return the same version.
    `model` is what the label was made with, `model_version` the weights. `created` is UTC. `states` says what is known
    of each structure that has a segment; all others are not examined.
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
    states: Mapping[str, StructureState]
    author: str
    client: str
    model: str
    model_version: str
    comment: str
    created: datetime
    deleted: bool = False

    @property
    def examined(self) -> frozenset[str]:
        """The structures that are segmented or absent."""
        return frozenset(name for name, state in self.states.items() if state != "not_examined")

    def states_among(self, structures: Iterable[str]) -> dict[str, StructureState]:
        """The state of each of `structures`, and of those that have a segment here."""
        names = dict.fromkeys([*structures, *self.states])
        return {name: self.states.get(name, "not_examined") for name in names}


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
