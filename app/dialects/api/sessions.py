"""Prompt sessions: sending prompts, and receiving the changes of the mask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict

from app.core.label import FINAL, Label
from app.core.model import Option
from app.core.prompt import InitialMask
from app.dialects.api.common import Asking, binary, gzipped, moment
from app.dialects.api.labels import LabelShape, Tag, shapes_of
from app.dialects.api.prompts import PromptsRequest, decoded
from app.errors import UnknownSession
from app.services import Services
from app.services.prompting.log import SessionRecord, Viewer
from app.services.prompting.service import PromptService
from app.services.prompting.session import Change, Session
from app.services.prompting.starting import Source
from app.services.prompting.submission import SessionInfo


class StartRequest(BaseModel):
    """A mask to start from: that of an automatic `model`, or of the label version `label_id`, on the session's case.
    `structure` may be left out if there is only one. With `refine` the session's model looks at it again at once."""

    model_config = ConfigDict(extra="forbid")

    model: str = ""
    label_id: int | None = None
    structure: str = ""
    refine: bool = False


class OpenRequest(BaseModel):
    """The case to segment, the model (the server's first interactive one by default), and the mask to start from (empty
    by default)."""

    case_id: str
    model: str = ""
    options: dict[str, Option] = {}
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
    """The effect of prompts. `voxels` is the mask in the changed region: base64 of gzip of one byte (0 or 1) per voxel,
    C order; null, like the region, if nothing changed."""

    region: RegionShape | None
    voxels: str | None
    seconds: float


class UndoShape(ChangeShape):
    """The effect of an undo. `undone` is false if there was nothing to undo."""

    undone: bool


class SubmitRequest(BaseModel):
    """The name of the segmented structure, which may be left out if the project has only one."""

    structure: str = ""
    comment: str = ""
    tag: Tag = FINAL


class SubmittedShape(LabelShape):
    """The new label. `matched` says whether the session's image was found in the archive."""

    matched: bool


OWNER = "api:"
"""The prefix of the owners of this dialect's sessions."""

Id = Annotated[str, Path(alias="session_id", description="what opening the session answered")]
Name = Annotated[str, Path(alias="session_id", description="a session's id, or its name")]


def add(api: APIRouter, services: Services) -> None:
    prompting = services.prompting

    @api.post("/sessions", summary="Open a session on a case", status_code=201)
    def opened(asked: OpenRequest, asking: Asking) -> SessionShape:
        """The id is returned only here and gives access to the session. On the device's queue, all sessions of a caller
        count as one owner."""
        session_id = _open(services, asked, asking)
        record = prompting.record(session_id)
        return SessionShape(
            id=session_id, name=record.name, case_id=record.case_id, model=record.model, shape=record.shape
        )

    @api.get("/sessions", summary="List sessions of every viewer")
    def listed(limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> list[SessionRow]:
        """Last opened first."""
        return [SessionRow.of(info, services.sessions.matched(info)) for info in services.sessions.listed(limit)]

    @api.get("/sessions/{session_id}", summary="One session")
    def one(name: Name) -> SessionRow:
        info = services.sessions.get(name)
        return SessionRow.of(info, services.sessions.matched(info))

    @api.post("/sessions/{session_id}/prompts", summary="Prompt")
    def prompted(session_id: Id, asked: PromptsRequest) -> ChangeShape:
        """All prompts are validated before the first is added; the response is their combined change."""
        start = time.perf_counter()
        with _session(prompting, session_id) as session:
            record = session.record
            prompts = [decoded(prompt, record.shape) for prompt in asked.prompts]
            change = session.add(prompts, asked.predict)
        services.next_case.renew(record.case_id, record.viewer.who)
        return ChangeShape(**_change_fields(change, start))

    @api.post("/sessions/{session_id}/start", summary="Start from a model's mask, or from a label")
    def started(session_id: Id, asked: StartRequest, asking: Asking) -> ChangeShape:
        """A prompt like any other, so that it can be undone; it removes every earlier one. Responds when the model has
        finished; clicks have priority."""
        start = time.perf_counter()
        mask = _initial_mask(services, _own(prompting, session_id).case_id, asked, asking.who)
        with _session(prompting, session_id) as session:
            change = session.add([mask])
        return ChangeShape(**_change_fields(change, start))

    @api.post("/sessions/{session_id}/undo", summary="Take the last prompt back")
    def undone(session_id: Id) -> UndoShape:
        """Undoes the last prompt; most models keep one level."""
        start = time.perf_counter()
        with _session(prompting, session_id) as session:
            change = session.undo()
        return UndoShape(**_change_fields(change or Change(None, None), start), undone=change is not None)

    @api.post("/sessions/{session_id}/reset", summary="Forget the prompts and empty the mask", status_code=204)
    def reset(session_id: Id) -> None:
        with _session(prompting, session_id) as session:
            session.reset()

    @api.get(
        "/sessions/{session_id}/mask",
        summary="The whole mask",
        response_class=Response,
        responses=binary("application/octet-stream"),
    )
    def mask(session_id: Id) -> Response:
        """One byte (0 or 1) per voxel, C order; the header X-Shape is `k,j,i`. Always gzipped."""
        with _session(prompting, session_id, reading=True) as session:
            shape, content = session.shape, session.gzip()
        headers = {
            "Content-Encoding": "gzip",
            "X-Shape": ",".join(str(n) for n in shape),
            "Cache-Control": "no-store, no-transform",
        }
        return Response(content, media_type="application/octet-stream", headers=headers)

    @api.delete("/sessions/{session_id}", summary="Close a session", status_code=204)
    def closed(session_id: Id) -> None:
        """Frees the session's memory. Its log stays, and can still be submitted by the session's name."""
        prompting.close(session_id, _own(prompting, session_id).owner)


def _open(services: Services, asked: OpenRequest, asking: Viewer) -> str:
    prompting, owner = services.prompting, OWNER + asking.who
    model = asked.model or services.models.default_interactive()
    # Before the session is opened: whatever is wrong with it, there is nothing to take back then.
    start = None if asked.start is None else _initial_mask(services, asked.case_id, asked.start, asking.who)
    session_id = prompting.open(owner, asked.case_id, model, asked.options, asking)
    services.next_case.renew(asked.case_id, asking.who)
    if start is not None:
        try:
            with prompting.session(session_id, owner) as session:
                session.add([start])
        except BaseException:
            prompting.forget(session_id, owner)
            raise
    return session_id


def _initial_mask(services: Services, case_id: str, asked: StartRequest, who: str) -> InitialMask:
    source = Source(asked.model, asked.label_id, asked.structure)
    return services.starts.initial_mask(case_id, source, who, asked.refine)


def add_submission(api: APIRouter, services: Services) -> None:
    """Routes that turn a session of any dialect into a label."""

    @api.post("/sessions/{session_id}/label", summary="Keep a session's mask as a label", status_code=201)
    def submitted(name: Name, asked: SubmitRequest) -> SubmittedShape:
        """The author is the session's user. An image that a viewer sent is first matched to a case of the archive."""
        label, matched = services.sessions.submit(name, asked.structure.strip(), asked.comment, asked.tag)
        return SubmittedShape(**_label(services, label).model_dump(), matched=matched)


def _label(services: Services, label: Label) -> LabelShape:
    return shapes_of(services, [label])[0]


@contextmanager
def _session(prompting: PromptService, session_id: str, reading: bool = False) -> Iterator[Session]:
    """Lock a session of this dialect for one request. Raises `UnknownSession`."""
    with prompting.session(session_id, _own(prompting, session_id).owner, reading) as session:
        yield session


def _own(prompting: PromptService, session_id: str) -> SessionRecord:
    """A session of this dialect. Raises `UnknownSession`, also for a session of another dialect."""
    record = prompting.record(session_id)
    if not record.owner.startswith(OWNER):
        raise UnknownSession("this session is over; open the image again")
    return record


def _change_fields(change: Change, start: float) -> dict[str, object]:
    region = change.region
    return {
        "region": None if region is None else RegionShape(low=region.low, high=region.high),
        "voxels": None if change.voxels is None else gzipped(change.voxels),
        "seconds": time.perf_counter() - start,
    }
