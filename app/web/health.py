"""Liveness and readiness."""

from __future__ import annotations

import shutil
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.services import Services

LOW_DISK = 2 * 2**30
"""With fewer free bytes than this, the server is not ready."""


def router(services: Services) -> APIRouter:
    """The routes `/livez`, `/readyz` and `/healthz`."""
    api = APIRouter(tags=["health"])

    @api.get("/livez")
    def livez() -> dict[str, str]:
        """Liveness: the process answers. Needs no token and reveals nothing."""
        return {"status": "ok"}

    @api.get("/readyz")
    def readyz() -> JSONResponse:
        """Readiness: what a click needs is loaded, and labels can be stored. An unreachable archive is reported but no
        failure: labels wait in the outbox meanwhile."""
        return answer("" if services.warm.is_set() else "models are being loaded")

    @api.get("/healthz")
    def healthz() -> JSONResponse:
        """Readiness for nnInteractive's clients. Unlike `/readyz` it doesn't wait for models: what a client asks for is
        loaded when it does."""
        return answer("")

    def answer(loading: str) -> JSONResponse:
        outbox = services.deliveries.outbox(0).state
        free = shutil.disk_usage(services.settings.workspace).free
        sessions, session_bytes = services.prompting.memory
        unwritable = services.write_problem()
        problem = unwritable or ("disk almost full" if free < LOW_DISK else loading)
        state: dict[str, Any] = {
            "ok": not problem,  # read by nnInteractive's clients
            "status": problem or "ok",
            "disk_free_bytes": free,
            "outbox": {
                "waiting": outbox.waiting,
                "refused": outbox.refused,
                "oldest_seconds": round(outbox.oldest),
                "error": outbox.error,
            },
            "sessions": {"open": sessions, "bytes": session_bytes},
            "archive_problem": services.sync.problem,
        }
        return JSONResponse(state, 503 if problem else 200)

    return api
