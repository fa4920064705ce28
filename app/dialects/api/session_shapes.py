"""Prompt sessions in JSON."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.core.label import FINAL
from app.core.model import Option
from app.dialects.api.common import gzipped, moment
from app.dialects.api.labels import LabelShape, Tag
from app.dialects.api.prompts import Batch
from app.services.prompting.log import Said
from app.services.prompting.session import Change, Session
from app.services.prompting.submission import SessionInfo


class StartRequest(BaseModel):
    """A mask to start from: that of an automatic `model`, or of the label version `label_id`, on the session's case.
    `structure` may be left out if there is only one. With `refine` the session's model looks at it again at once."""

    model_config = ConfigDict(extra="forbid")

    model: str = ""
    label_id: int | None = None
    structure: str = ""
    refine: bool = False
    batch: Batch = ""


class OpenRequest(BaseModel):
    """The case to segment, the model (the server's first interactive one by default), and the mask to start from (empty
    by default)."""

    case_id: str
    model: str = ""
    options: dict[str, Option] = {}
    structure: str = Field("", max_length=200, description="what is drawn: such a session is part of a draft")
    start: StartRequest | None = None


class SessionShape(BaseModel):
    """A new session. `id` gives access to it and is returned only here; `name` is its public name. `shape` is
    [k, j, i]."""

    id: str
    name: str
    case_id: str
    model: str
    shape: tuple[int, int, int]


class SessionRow(BaseModel):
    """The public view of a session, of any dialect. `matched_case_id` is the archive's case of its image, if known;
    `open` says that it is in memory."""

    name: str
    client: str
    who: str
    case_id: str
    matched_case_id: str | None
    model: str
    structure: str
    opened: datetime
    used: datetime
    steps: int
    open: bool
    label_id: int | None

    @classmethod
    def of(cls, info: SessionInfo, matched_case_id: str | None) -> SessionRow:
        record = info.record
        return cls(
            name=record.name,
            client=record.viewer.client,
            who=record.viewer.who,
            case_id=record.case_id,
            matched_case_id=matched_case_id,
            model=record.model,
            structure=record.structure,
            opened=moment(record.opened),
            used=moment(info.used),
            steps=info.steps,
            open=info.open,
            label_id=info.label_id,
        )


class RegionShape(BaseModel):
    """The voxels from `low` (included) to `high` (not included), [k, j, i]."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]


class EditRequest(BaseModel):
    """A change of the mask by hand: what it is from `low` (included) to `high` (not included), [k, j, i], as base64 of
    the bits of that box, C order, the highest bit first (numpy.packbits)."""

    model_config = ConfigDict(extra="forbid")

    low: tuple[int, int, int]
    high: tuple[int, int, int]
    voxels: str
    shown: bool = Field(False, description="only cuts the last answer to what is shown; the model goes on with its own")
    batch: Batch = ""


class SayRequest(BaseModel):
    """What is said of the session's structure besides its voxels, until they change: `absent`, or `guessed` (a model
    made it, and nobody has looked at it); empty takes that back."""

    model_config = ConfigDict(extra="forbid")

    said: Said
    batch: Batch = ""


class ChangeShape(BaseModel):
    """The effect of prompts. `voxels` is the mask in the changed region: base64 of gzip of one byte (0 or 1) per voxel,
    C order; null, like the region, if nothing changed. `undoable` and `redoable` are the numbers of steps that can be
    undone, and done again, from here."""

    region: RegionShape | None
    voxels: str | None
    seconds: float
    undoable: int
    redoable: int
    said: Said

    @classmethod
    def fields(cls, session: Session, change: Change, start: float) -> dict[str, Any]:
        """The fields of a change of a session that began at `start` (`time.perf_counter`)."""
        region, depth = change.region, session.depth
        return {
            "region": None if region is None else RegionShape(low=region.low, high=region.high),
            "voxels": None if change.voxels is None else gzipped(change.voxels),
            "seconds": time.perf_counter() - start,
            "undoable": depth.undo,
            "redoable": depth.redo,
            "said": session.said,
        }


class UndoShape(ChangeShape):
    """The effect of an undo. `undone` is false if there was nothing to undo."""

    undone: bool


class RedoShape(ChangeShape):
    """The effect of a redo. `redone` is false if nothing was undone since the last step."""

    redone: bool


class SubmitRequest(BaseModel):
    """The name of the segmented structure, which may be left out if the project has only one."""

    structure: str = ""
    comment: str = ""
    tag: Tag = FINAL


class SubmittedShape(LabelShape):
    """The new label. `matched` says whether the session's image was found in the archive."""

    matched: bool
