"""Whether the server lives, and whether it can work."""

from __future__ import annotations

import shutil
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.services import Services

LOW_DISK = 2 * 2**30
"""Bytes free below which the server says it is not ready."""


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["health"])

    @api.get("/livez")
    def livez() -> dict[str, str]:
        """The process answers. Needs no token and tells nothing."""
        return {"status": "ok"}

    @api.get("/readyz")
    @api.get("/healthz")
    def readyz() -> JSONResponse:
        """What works. The archive being away is told but is no failure: labels are kept until it is back."""
        outbox = services.deliveries.outbox(0).state
        free = shutil.disk_usage(services.settings.workspace).free
        sessions, session_bytes = services.prompting.memory
        state: dict[str, Any] = {
            "ok": free >= LOW_DISK,  # the word that clients of nnInteractive look for
            "status": "ok" if free >= LOW_DISK else "disk almost full",
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
        return JSONResponse(state, 200 if free >= LOW_DISK else 503)

    return api
