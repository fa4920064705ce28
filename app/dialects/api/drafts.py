"""Drafts: unfinished sessions of a person on a case, to go on with."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel

from app.dialects.api.common import Asking, moment
from app.services import Services
from app.services.prompting.drafts import Draft
from app.services.prompting.log import Said, SessionRecord
from app.services.prompting.timeline import Mark


class DraftRow(BaseModel):
    """Somebody's unfinished work on a case. It `expires` unless it is used again."""

    case_id: str
    who: str
    client: str
    used: datetime
    expires: datetime
    structures: list[str]

    @classmethod
    def of(cls, draft: Draft) -> DraftRow:
        return cls(
            case_id=draft.case_id,
            who=draft.who,
            client=draft.client,
            used=moment(draft.used),
            expires=moment(draft.expires),
            structures=[record.structure for record in draft.parts],
        )


class MarkShape(BaseModel):
    """A step that can be undone or made again: when it was made, in seconds since the epoch, and its batch."""

    at: float
    batch: str

    @classmethod
    def listed(cls, marks: list[Mark]) -> list[MarkShape]:
        return [cls(at=mark.at, batch=mark.batch) for mark in marks]


class PartShape(BaseModel):
    """The session of one structure. `undo` has the steps that can be undone, the latest first; `redo` those that can be
    made again, the next first."""

    id: str
    name: str
    structure: str
    model: str
    said: Said
    undo: list[MarkShape]
    redo: list[MarkShape]


class DraftShape(DraftRow):
    """A draft to go on with."""

    parts: list[PartShape]


def add(api: APIRouter, services: Services) -> None:
    drafts = services.drafts

    @api.get("/drafts", summary="Work that nobody has submitted yet")
    def listed(who: str = "", case_id: str = "") -> list[DraftRow]:
        """Last used first; only those of one person or on one case if given."""
        return [DraftRow.of(draft) for draft in drafts.listed(case_id, who)]

    @api.post(
        "/cases/{case_id}/draft",
        summary="Go on with one's own draft",
        response_model=DraftShape,
        responses={204: {"description": "there is none"}},
    )
    def resumed(case_id: str, asking: Asking) -> DraftShape | Response:
        """The caller's own sessions of a case, with the ids that give access to them. 204: there are none."""
        draft = drafts.of(case_id, asking.who)
        if draft is None:
            return Response(status_code=204)
        parts = [_part(services, record) for record in draft.parts]
        return DraftShape(**DraftRow.of(draft).model_dump(), parts=parts)


def _part(services: Services, record: SessionRecord) -> PartShape:
    with services.prompting.session(record.id, record.owner, reading=True) as session:
        trail, said = session.trail, session.said
    return PartShape(
        id=record.id,
        name=record.name,
        structure=record.structure,
        model=record.model,
        said=said,
        undo=MarkShape.listed(trail.undo),
        redo=MarkShape.listed(trail.redo),
    )
