"""The six calls (docs/protocols/slicer-legacy.md, section 3)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError

from app.core.prompt import InitialMask, Lasso, Prompt, Scribble
from app.core.volume import Geometry, Index, Volume
from app.dialects.slicer_legacy.npy import read_mask, read_volume
from app.dialects.slicer_legacy.people import People
from app.dialects.slicer_legacy.prompts import BoxBody, PointBody, decode_box, decode_drawn, decode_point, is_positive
from app.dialects.slicer_legacy.routes import Route, SharedRoute, message_response, no_lease
from app.errors import BadInput, Conflict, SegloopError, UnknownSession
from app.http.bodies import whole_body
from app.http.errors import problems
from app.http.forms import Form, received
from app.http.identity import host_of, user_of
from app.services import Services
from app.services.prompting.images import SentImage
from app.services.prompting.log import Viewer
from app.services.prompting.service import Slot
from app.services.prompting.session import Session

NO_IMAGE = "No image uploaded"
"""The client matches this exact text: it then sends image and segment again, and repeats its request
(docs/protocols/slicer-legacy.md, section 5)."""

_JSON_BYTES = 64 * 1024

Body = TypeVar("Body", bound=BaseModel)


def router(services: Services) -> APIRouter:
    """All routes of the dialect. Include it before nnInteractive's, whose requests its shared routes leave alone."""
    api = APIRouter(tags=["SlicerNNInteractive 0.3"], route_class=Route)
    # OpenAPI has one entry per path; for the shared paths it is nnInteractive's.
    shared = APIRouter(route_class=SharedRoute, include_in_schema=False)
    sessions = LegacySessions(services)
    limit = services.settings.labels.max_upload_bytes

    async def with_form(request: Request, work: Callable[[Request, Form], Response]) -> Response:
        # The request's `Content-Encoding: gzip` is true for the file inside the form only, so it is ignored.
        async with received(request, services.incoming, limit) as form:
            return await run_in_threadpool(work, request, form)

    @api.post("/upload_image")
    async def upload_image(request: Request) -> Response:
        """The volume to segment, replacing the previous one."""
        try:
            return await with_form(request, sessions.upload_image)
        except SegloopError as error:
            await run_in_threadpool(sessions.refuse, request, str(error))
            raise

    @api.post("/upload_segment")
    async def upload_segment(request: Request) -> Response:
        """An initial mask; an empty one removes all prompts."""
        return await with_form(request, sessions.upload_segment)

    @shared.post("/add_point_interaction")
    async def add_point(request: Request) -> Response:
        """A point."""
        body = await _json(request)
        if "voxel_coord" not in body:
            return no_lease()
        return await run_in_threadpool(sessions.add_point, request, _checked(PointBody, body))

    @shared.post("/add_bbox_interaction")
    async def add_bbox(request: Request) -> Response:
        """A box."""
        body = await _json(request)
        if "outer_point_one" not in body:
            return no_lease()
        return await run_in_threadpool(sessions.add_box, request, _checked(BoxBody, body))

    @shared.post("/add_scribble_interaction")
    async def add_scribble(request: Request) -> Response:
        """A painted stroke."""
        return await with_form(request, sessions.add_scribble)

    @shared.post("/add_lasso_interaction")
    async def add_lasso(request: Request) -> Response:
        """A filled outline."""
        return await with_form(request, sessions.add_lasso)

    api.include_router(shared)
    return api


class LegacySessions:
    """Implements the calls. A user's session is in their slot, also after a restart."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._people = People(services.settings.sessions.idle_seconds)

    def upload_image(self, request: Request, form: Form) -> Response:
        person = self._person(request)
        voxels = read_volume(form.needed("file").file)
        model = self._services.models.default_interactive()
        # The geometry isn't sent: the spacing is taken as 1 mm until the image is matched to a case.
        volume = Volume(voxels, Geometry(_index(voxels.shape), np.eye(4)))
        with self._slot(person) as slot:
            slot.open(SentImage(volume, placed=False), model, {}, Viewer("SlicerNNInteractive", person))
            self._people.note(person, "")
        return _done()

    def refuse(self, request: Request, why: str) -> None:
        """Record that an image was rejected. Until another is accepted, prompts get this error: "no image" would make
        the client send it again, endlessly, and the previous image is no longer the one on the screen."""
        person = self._person(request)
        with self._slot(person) as slot:
            slot.close()
            self._people.note(person, why)

    def upload_segment(self, request: Request, form: Form) -> Response:
        """The selected segment: all zeros mean a new start, anything else is an initial mask."""
        try:
            with self._session(request) as session:
                mask = read_mask(form.needed("file").file, session.shape)
                if mask.any():
                    session.add([InitialMask(mask)])
                else:
                    session.reset()
        except UnknownSession:
            return message_response(NO_IMAGE)
        return _done()

    def add_point(self, request: Request, body: PointBody) -> Response:
        return self._prompted(request, lambda shape: decode_point(body))

    def add_box(self, request: Request, body: BoxBody) -> Response:
        return self._prompted(request, lambda shape: decode_box(body, shape))

    def add_scribble(self, request: Request, form: Form) -> Response:
        return self._prompted(request, lambda shape: _drawn(Scribble, form, shape))

    def add_lasso(self, request: Request, form: Form) -> Response:
        return self._prompted(request, lambda shape: _drawn(Lasso, form, shape))

    def _prompted(self, request: Request, prompt: Callable[[Index], Prompt]) -> Response:
        try:
            with self._session(request) as session:
                session.add([prompt(session.shape)])
                packed = session.packed_gzip()
        except UnknownSession:
            return message_response(NO_IMAGE)
        return Response(packed, media_type="application/octet-stream", headers={"Content-Encoding": "gzip"})

    def _person(self, request: Request) -> str:
        address = host_of(request)
        return self._people.admitted(user_of(request), address)

    @contextmanager
    def _session(self, request: Request) -> Iterator[Session]:
        """The caller's session. Raises `UnknownSession` if there is none, and `Conflict` if the image was rejected."""
        person = self._person(request)
        with self._slot(person) as slot:
            if refused := self._people.refused(person):
                raise Conflict(f"The image was refused: {refused}")
            yield slot.session

    def _slot(self, person: str) -> AbstractContextManager[Slot]:
        return self._services.prompting.slot(f"slicer_legacy:{person}")


def _drawn(kind: type[Scribble | Lasso], form: Form, shape: Index) -> Scribble | Lasso:
    mask = read_mask(form.needed("file").file, shape)
    return decode_drawn(kind, mask, is_positive(form.fields.get("positive_click", "")))


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await whole_body(request, _JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the body should be JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadInput("the body should be a JSON object")
    return body


def _checked(kind: type[Body], body: dict[str, Any]) -> Body:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise BadInput("; ".join(problems(error, lambda location: str(location[0])))) from error


def _index(shape: tuple[int, ...]) -> Index:
    k, j, i = shape
    return k, j, i


def _done() -> Response:
    return Response('{"status":"ok"}', media_type="application/json")
