"""The composition root: one application from settings. No state outside it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.concurrency import run_in_threadpool

from app.core.archive import Archive
from app.dialects import api, dicomweb, itkit, itksnap, monailabel, nninteractive, slicer_legacy
from app.http.connections import Connections
from app.services import Services
from app.settings import Settings
from app.web import apidocs, dashboard, errors, health, metrics, people, viewer
from app.web.account_door import AccountDoor
from app.web.forwarding import Forwarding
from app.web.gate import Gate
from app.web.page_headers import PageHeaders
from app.web.paths import DicomwebAlias, OneSlash, UserPrefix
from app.web.rights import Rights
from app.web.throttle import Throttle

logger = logging.getLogger(__name__)

THREADS = 256
"""Requests that may be worked on, or wait for the device, at the same time."""


def create_app(settings: Settings, archive: Archive | None = None, token: str | None = None) -> FastAPI:
    """The server. `archive` replaces the one the settings name; `token` the one of the settings ("" for none).

    The services open when this is called; background work starts and ends with the application's lifespan.
    """
    services = Services.open(settings, archive)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Calls that wait for the device hold a thread each; the quick ones must still find one.
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        async with AsyncExitStack() as stack:
            await run_in_threadpool(services.start)
            stack.push_async_callback(run_in_threadpool, services.stop)
            for router in routers:
                await stack.enter_async_context(router.lifespan_context(app))
            yield

    app = FastAPI(
        title=settings.name,
        description=settings.description,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # `apidocs` serves these: FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        # Relative to the schema. FastAPI's own list keeps the prefixes of others' requests, with their tokens.
        servers=[{"url": ".", "description": "this server"}],
        root_path_in_servers=False,
    )
    app.state.services = services
    errors.install(app)
    # SlicerNNInteractive's old protocol before nnInteractive's: it leaves alone what isn't its own on shared paths.
    dialects = (monailabel, itksnap, slicer_legacy, nninteractive, itkit, api)
    pages = (health, dashboard, viewer)
    # DICOMweb first of all: frames are asked for by the hundred, and routes are tried in turn.
    routers = [package.router(services) for package in (dicomweb, *pages, *dialects)]
    figures = metrics.Metrics(services)
    routers.append(metrics.router(figures))
    routers.append(apidocs.router())
    shown = settings.secret_token if token is None else token
    throttle = Throttle()
    door = AccountDoor(services.accounts, shown) if settings.accounts else None
    if door is not None:
        routers.append(people.router(services, door, throttle))
    for router in routers:
        # `include_router` would build each route again, and those of nested routers twice: half of the time this takes.
        # It would also take over the routers' lifespans; `lifespan` above runs them.
        app.router.routes.extend(router.routes)
    app.add_middleware(metrics.Measured, metrics=figures)
    app.add_middleware(Connections)
    app.add_middleware(Rights)
    app.add_middleware(DicomwebAlias)
    app.add_middleware(UserPrefix)
    names = {"origins": frozenset(settings.origins), "hosts": frozenset(settings.hosts)}
    _stand_in_front(app, settings, {"token": shown, "throttle": throttle, "door": door, **names})
    return app


def _stand_in_front(app: FastAPI, settings: Settings, gate: Mapping[str, Any]) -> None:
    """Add what requests pass before they are routed."""
    # Added after what they guard, so that they stand in front: what the gate refuses reaches nothing, and CORS answers
    # preflights first.
    app.add_middleware(Gate, **gate)
    app.add_middleware(OneSlash)
    app.add_middleware(PageHeaders)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_credentials=True,
            allow_methods=["*"],
            allow_headers=["*"],
        )
    app.add_middleware(Forwarding, root_path=settings.root_path, trusted=settings.trusted_proxies)
