"""Prompt sessions: opening one, what changed in it, and how they are listed."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from app.core.label import FINAL
from app.core.model import Option
from app.dialects.api.shapes.labels import LabelShape, Tag
from app.dialects.api.shapes.moments import moment
from app.services.prompting.submission import SessionInfo


class OpenRequest(BaseModel):
    """Which case to segment; without a model the server's first interactive one."""

    case_id: str
    model: str = ""
    options: dict[str, Option] = {}


class SessionShape(BaseModel):
    """A session that was just opened. `id` lets whoever has it in and is told once; `name` is for people. `shape` is
    [k, j, i]."""

    id: str
    name: str
    case_id: str
    model: str
    shape: tuple[int, int, int]


class SessionRow(BaseModel):
    """A session as everybody may see it, of any viewer. `matched_case_id` is the archive's case that its image is of,
    as far as that is known; `open` says that it is in memory."""

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


class ChangeShape(BaseModel):
    """What prompts did. `voxels` is the mask in the region now: base64 of gzip of one byte (0 or 1) a voxel, C order;
    null, like the region, if nothing changed."""

    region: RegionShape | None
    voxels: str | None
    seconds: float


class UndoShape(ChangeShape):
    """`undone` is false if there was nothing to take back."""

    undone: bool


class SubmitRequest(BaseModel):
    """What the mask shows; without a structure, the project's first."""

    structure: str = ""
    comment: str = ""
    tag: Tag = FINAL


class SubmittedShape(LabelShape):
    """`matched` says whether the session's image was found in the archive."""

    matched: bool
