"""Prompt sessions: sending prompts, and receiving the changes of the mask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.core.label import Label
from app.core.prompt import Edit, InitialMask
from app.dialects.api.common import Asking, binary, unpack_bits
from app.dialects.api.labels import LabelShape, shapes_of
from app.dialects.api.prompts import PromptsRequest, decoded, region_of
from app.dialects.api.session_shapes import (
    ChangeShape,
    EditRequest,
    OpenRequest,
    RedoShape,
    SayRequest,
    SessionRow,
    SessionShape,
    StartRequest,
    SubmitRequest,
    SubmittedShape,
    UndoShape,
)
from app.errors import UnknownSession
from app.services import Services
from app.services.prompting.log import SessionRecord, Viewer
from app.services.prompting.service import PromptService
from app.services.prompting.session import Change, Session
from app.services.prompting.starting import Source

OWNER = "api:"
"""The prefix of the owners of this dialect's sessions."""

Id = Annotated[str, Path(alias="session_id", description="what opening the session answered")]
Name = Annotated[str, Path(alias="session_id", description="a session's id, or its name")]


def add(api: APIRouter, services: Services) -> None:
    """Routes that open, list, show and close sessions."""
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

    @api.post("/sessions/{session_id}/flush", summary="Flush a session's steps to the disk", status_code=204)
    def flushed(session_id: Id) -> None:
        """When this responds, every step so far survives a power cut. Otherwise steps survive the end of the server's
        process only: flushing each would slow every click."""
        prompting.flush(session_id, _own(prompting, session_id).owner)

    @api.delete("/sessions/{session_id}", summary="Close a session", status_code=204)
    def closed(session_id: Id) -> None:
        """Frees the session's memory, and deletes what undo returns to. Its log stays, and can still be submitted by
        the session's name."""
        prompting.close(session_id, _own(prompting, session_id).owner)


def add_steps(api: APIRouter, services: Services) -> None:
    """Routes that change a session's mask: each is a step that can be undone."""
    prompting = services.prompting

    @api.post("/sessions/{session_id}/prompts", summary="Prompt")
    def prompted(session_id: Id, asked: PromptsRequest) -> ChangeShape:
        """All prompts are validated before the first is added; the response is their combined change."""
        start = time.perf_counter()
        with _session(prompting, session_id) as session:
            record = session.record
            prompts = [decoded(prompt, record.shape) for prompt in asked.prompts]
            change = ChangeShape(
                **ChangeShape.fields(session, session.add(prompts, asked.predict, batch=asked.batch), start)
            )
        services.next_case.renew(record.case_id, record.viewer.who)
        return change

    @api.post("/sessions/{session_id}/start", summary="Start from a model's mask, or from a label")
    def started(session_id: Id, asked: StartRequest, asking: Asking) -> ChangeShape:
        """A prompt like any other, so that it can be undone; it removes every earlier one. Responds when the model has
        finished; clicks have priority."""
        start = time.perf_counter()
        mask = _initial_mask(services, _own(prompting, session_id).case_id, asked, asking.who)
        with _session(prompting, session_id) as session:
            return ChangeShape(**ChangeShape.fields(session, session.add([mask], batch=asked.batch), start))

    @api.post("/sessions/{session_id}/edit", summary="Change the mask by hand")
    def edited(session_id: Id, asked: EditRequest) -> ChangeShape:
        """What a brush did, for example. Nothing is predicted; the model starts from the mask as it is then with the
        next prompt, if it takes masks."""
        start = time.perf_counter()
        with _session(prompting, session_id) as session:
            record = session.record
            region = region_of(asked.low, asked.high, record.shape)
            change = session.edit(Edit(region, unpack_bits(asked.voxels, region.shape)), asked.shown, asked.batch)
            shape = ChangeShape(**ChangeShape.fields(session, change, start))
        services.next_case.renew(record.case_id, record.viewer.who)
        return shape

    @api.post("/sessions/{session_id}/say", summary="Say that the structure is absent, or that a model made it")
    def said(session_id: Id, asked: SayRequest) -> ChangeShape:
        """A step like any other. It is no part of a label until that is submitted."""
        start = time.perf_counter()
        with _session(prompting, session_id) as session:
            session.say(asked.said, asked.batch)
            return ChangeShape(**ChangeShape.fields(session, Change(None, None), start))

    @api.post("/sessions/{session_id}/undo", summary="Take the last step back")
    def undone(session_id: Id) -> UndoShape:
        """Undoes the last prompt, edit, start or reset; once more, the one before it. Nothing is predicted, and the
        session goes on as if the step had never been made. Nothing can be undone that was made before the setting
        `sessions.undo_bytes` was exceeded."""
        start = time.perf_counter()
        with _session(prompting, session_id) as session:
            change = session.step_back()
            fields = ChangeShape.fields(session, change or Change(None, None), start)
        return UndoShape(**fields, undone=change is not None)

    @api.post("/sessions/{session_id}/redo", summary="Make the step again that was undone last")
    def redone(session_id: Id) -> RedoShape:
        """Nothing is predicted. A new step after an undo drops what was undone."""
        start = time.perf_counter()
        with _session(prompting, session_id) as session:
            change = session.step_forward()
            fields = ChangeShape.fields(session, change or Change(None, None), start)
        return RedoShape(**fields, redone=change is not None)

    @api.post("/sessions/{session_id}/reset", summary="Forget the prompts and empty the mask", status_code=204)
    def reset(session_id: Id) -> None:
        with _session(prompting, session_id) as session:
            session.reset()


def _open(services: Services, asked: OpenRequest, asking: Viewer) -> str:
    prompting, owner = services.prompting, OWNER + asking.who
    model = asked.model or services.models.default_interactive()
    # Before the session is opened: whatever is wrong with it, there is nothing to take back then.
    start = None if asked.start is None else _initial_mask(services, asked.case_id, asked.start, asking.who)
    viewer = replace(asking, undoes_all=True)
    session_id = prompting.open(owner, asked.case_id, model, asked.options, viewer, asked.structure)
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
