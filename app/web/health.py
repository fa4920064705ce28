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
    @api.get("/healthz")
    def readyz() -> JSONResponse:
        """Readiness. An unreachable archive is reported but no failure: labels wait in the outbox meanwhile."""
        outbox = services.deliveries.outbox(0).state
        free = shutil.disk_usage(services.settings.workspace).free
        sessions, session_bytes = services.prompting.memory
        unwritable = services.write_problem()
        ready = free >= LOW_DISK and not unwritable
        state: dict[str, Any] = {
            "ok": ready,  # read by nnInteractive's clients
            "status": "ok" if ready else unwritable or "disk almost full",
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
        return JSONResponse(state, 200 if ready else 503)

    return api
