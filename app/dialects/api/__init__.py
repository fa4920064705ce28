"""Segloop's own API, `/api/v1`: JSON, for the panel in the browser, the dashboard, and programs (see `docs/api.md`).

| module | holds |
| --- | --- |
| `server`, `models`, `jobs`, `events` | what there is, training and scoring, what happens as it happens |
| `cases`, `thumbnails` | images, the next one to label, and what automatic models find |
| `sessions`, `session_shapes`, `prompts` | prompting |
| `drafts` | unfinished work, to go on with |
| `labels`, `exports` | label versions, in and out; all of them in the formats of other programs |
| `quarantine` | files that are left out of cases |
| `common` | who asks, how errors, times and arrays look, how files are described |

Each module has the shapes of its resource (pydantic models with the names of `docs/api.md`) and then its routes.
Indices are `[k, j, i]` on the wire as everywhere below. Errors are `{"detail": text}` by the application's own table.
"""

from __future__ import annotations

from fastapi import APIRouter

from app.dialects.api import (
    cases,
    drafts,
    events,
    exports,
    jobs,
    labels,
    models,
    quarantine,
    server,
    sessions,
    thumbnails,
)
from app.dialects.api.common import Route
from app.services import Services


def router(services: Services) -> APIRouter:
    """All routes of the dialect. State shared between requests is created here, once per application."""
    api = APIRouter(prefix="/api/v1", tags=["segloop"], route_class=Route)
    parts = (server, cases, thumbnails, sessions, drafts, labels, exports, jobs, models, quarantine, events)
    for part in parts:
        part.add(api, services)
    cases.add_segmentation(api, services)
    sessions.add_steps(api, services)
    sessions.add_submission(api, services)
    # Where a session becomes a label is also known under an address without a version.
    unversioned = APIRouter(prefix="/api", include_in_schema=False, route_class=Route)
    sessions.add_submission(unversioned, services)
    both = APIRouter()
    both.include_router(api)
    both.include_router(unversioned)
    return both
