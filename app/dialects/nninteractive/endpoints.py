"""Every endpoint of docs/protocols/nninteractive.md, section 2."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, FastAPI, Header, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.core.prompt import Lasso, Scribble
from app.dialects.nninteractive.arrays import check, pack, read_header, unpack, unpack_into
from app.dialects.nninteractive.capabilities import capabilities
from app.dialects.nninteractive.client_session import ClientSession, Outcome
from app.dialects.nninteractive.leases import LeaseTable, Terms
from app.dialects.nninteractive.requests import (
    META_HEADER,
    BoxBody,
    DrawnMeta,
    ImageMeta,
    InitialMeta,
    PointBody,
    PredictBody,
    TargetBody,
    ZoomBody,
    meta_of,
)
from app.dialects.nninteractive.routes import Route
from app.http.bodies import whole_body
from app.http.identity import account_of, host_of, user_of
from app.services import Services
from app.services.prompting.session import Change

SWEEP_SECONDS = 15.0

T = TypeVar("T")
Token = Annotated[str | None, Header(alias="X-Lease-Token")]


def router(services: Services) -> APIRouter:
    """All routes of the dialect, and the table of leases, once per application."""
    sessions = services.settings.sessions
    terms = Terms(sessions.lease_idle_seconds, sessions.liveness_seconds, sessions.max_leases)
    leases = LeaseTable(terms, lambda token: ClientSession(services, f"nninteractive:{token}"), ClientSession.close)
    return routes(services, leases)


def routes(services: Services, leases: LeaseTable[ClientSession]) -> APIRouter:
    """The routes over a table of leases."""

    @asynccontextmanager
    async def sweeping(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_sweep(leases, services))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await run_in_threadpool(leases.release_all)

    api = APIRouter(tags=["nnInteractive"], route_class=Route, lifespan=sweeping)
    _lease_routes(api, services, leases)
    _image_routes(api, services, leases)
    _prompt_routes(api, leases)
    _drawing_routes(api, services, leases)
    return api


def _lease_routes(api: APIRouter, services: Services, leases: LeaseTable[ClientSession]) -> None:
    @api.get("/capabilities")
    def capable() -> dict[str, Any]:
        """Which prompts the model takes, and its other properties."""
        models = services.models
        return capabilities(models.interactive(models.default_interactive()))

    @api.post("/claim")
    def claim(request: Request) -> dict[str, Any]:
        """Grant a new lease."""
        return {
            "lease_token": leases.claim(account_of(request)),
            "idle_timeout_seconds": leases.terms.idle,
            "liveness_timeout_seconds": leases.terms.liveness,
            "max_sessions": leases.terms.sessions,
        }

    @api.post("/release")
    def release(token: Token = None) -> dict[str, Any]:
        """End a lease. Idempotent."""
        leases.release(token)
        return {"released": True}

    @api.post("/heartbeat")
    def heartbeat(token: Token = None) -> dict[str, Any]:
        """A heartbeat. Restarts the liveness timeout only."""
        leases.check(token)
        return {"remaining_seconds": leases.remaining(token)}

    @api.get("/lease_status")
    def lease_status(token: Token = None) -> dict[str, Any]:
        """Seconds until the idle timeout. Restarts no timeout."""
        return {"remaining_seconds": leases.remaining(token), "idle_timeout_seconds": leases.terms.idle}


def _image_routes(api: APIRouter, services: Services, leases: LeaseTable[ClientSession]) -> None:
    limit = services.settings.labels.max_upload_bytes

    @api.post("/set_image")
    async def set_image(request: Request, token: Token = None) -> dict[str, Any]:
        """The image to segment, replacing the previous one."""

        def work(session: ClientSession, packed: bytearray) -> dict[str, Any]:
            header = read_header(packed)
            check(packed, header, limit)
            with services.prompting.images.space(header.shape, header.dtype) as space:
                unpack_into(space.voxels, packed, header)
                packed.clear()  # as large as the image may be, and not needed while it is prepared
                session.set_image(space, meta.spacing, _person(request))
            return {"original_image_shape": list(header.shape)}

        leases.check(token)
        meta = meta_of(request, ImageMeta)
        return await _with_body(request, limit, leases, token, work)

    @api.post("/set_target_buffer")
    def set_target_buffer(body: TargetBody, token: Token = None) -> dict[str, Any]:
        """Announce the client's buffer, which is all zeros."""
        with leases.acting(token) as session:
            session.set_target(body)
        return {}

    @api.post("/set_do_autozoom")
    def set_do_autozoom(body: ZoomBody, token: Token = None) -> dict[str, Any]:
        """Whether the model may look at a larger region than its patch."""
        with leases.acting(token) as session:
            session.set_zoom(body.do_autozoom)
        return {}


def _prompt_routes(api: APIRouter, leases: LeaseTable[ClientSession]) -> None:
    @api.post("/add_point_interaction")
    def add_point(body: PointBody, token: Token = None) -> Response:
        """A point."""
        with leases.acting(token) as session:
            return _answer(session.add_point(body))

    @api.post("/add_bbox_interaction")
    def add_bbox(body: BoxBody, token: Token = None) -> Response:
        """A box."""
        with leases.acting(token) as session:
            return _answer(session.add_box(body))

    @api.post("/predict")
    def predict(body: PredictBody, token: Token = None) -> Response:
        """Predict again from the current prompts."""
        with leases.acting(token) as session:
            return _answer(session.predict(body.force_full_refine))

    @api.post("/undo")
    def undo(token: Token = None) -> Response:
        """Undo the last prompt."""
        with leases.acting(token) as session:
            return _answer(session.undo())

    @api.post("/reset_interactions")
    def reset_interactions(token: Token = None) -> dict[str, Any]:
        """Remove all prompts and clear the mask."""
        with leases.acting(token) as session:
            session.reset()
        return {}


def _drawing_routes(api: APIRouter, services: Services, leases: LeaseTable[ClientSession]) -> None:
    limit = services.settings.labels.max_upload_bytes

    async def drawn(request: Request, token: str | None, kind: type[Scribble | Lasso]) -> Response:
        def work(session: ClientSession, packed: bytearray) -> Response:
            header = read_header(packed)
            return _answer(session.add_drawn(kind, meta, header.shape, lambda: unpack(packed, header, limit)))

        leases.check(token)
        meta = meta_of(request, DrawnMeta)
        return await _with_body(request, limit, leases, token, work)

    @api.post("/add_scribble_interaction")
    async def add_scribble(request: Request, token: Token = None) -> Response:
        """A painted stroke."""
        return await drawn(request, token, Scribble)

    @api.post("/add_lasso_interaction")
    async def add_lasso(request: Request, token: Token = None) -> Response:
        """A filled outline."""
        return await drawn(request, token, Lasso)

    @api.post("/add_initial_seg_interaction")
    async def add_initial_seg(request: Request, token: Token = None) -> Response:
        """An initial mask, replacing all prompts."""

        def work(session: ClientSession, packed: bytearray) -> Response:
            header = read_header(packed)
            return _answer(session.add_initial(meta, header.shape, lambda: unpack(packed, header, limit)))

        leases.check(token)
        meta = meta_of(request, InitialMeta)
        return await _with_body(request, limit, leases, token, work)


async def _with_body(
    request: Request,
    limit: int,
    leases: LeaseTable[ClientSession],
    token: str | None,
    work: Callable[[ClientSession, bytearray], T],
) -> T:
    """Receive the body, then process it in a thread. The lease can't expire meanwhile."""
    with leases.acting(token) as session:
        packed = await whole_body(request, limit)
        return await run_in_threadpool(work, session, packed)


def _answer(outcome: Outcome) -> Response:
    return reply(outcome.ran, outcome.change, outcome.dtype)


def _person(request: Request) -> str:
    """The session's user: the name from the gate or the path, else the client's host."""
    return user_of(request) or host_of(request)


async def _sweep(leases: LeaseTable[ClientSession], services: Services) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        await run_in_threadpool(leases.sweep)
        await run_in_threadpool(leases.release_of, services.accounts.is_gone)


def reply(ran: bool, change: Change | None, dtype: np.dtype[np.generic]) -> Response:
    """The response with a change: a box in the client's buffer, and its new voxels.

    `ran`: whether there was a prediction or an undo, even if it changed no voxel. `dtype` is the client buffer's.

    Protocol: docs/protocols/nninteractive.md, section 2.2.
    """
    meta: dict[str, Any] = {"ran_prediction": ran, "bbox": None}
    body = b""
    if change is not None and change.region is not None and change.voxels is not None:
        region, voxels = change.region, change.voxels
        meta["bbox"] = [[low, high] for low, high in zip(region.low, region.high, strict=True)]
        meta |= {"dtype": str(dtype), "shape": list(voxels.shape)}
        body = pack(voxels.astype(dtype, copy=False))
    headers = {META_HEADER: json.dumps(meta, separators=(",", ":"))}
    return Response(body, media_type="application/octet-stream", headers=headers)
