"""Error responses in the format and wording of ITKIT's server: JSON `{"error": text}` (docs/protocols/itkit.md,
section 3)."""

from __future__ import annotations

import logging

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app import errors
from app.http.errors import DISK_FULL, DISK_FULL_STATUS, UNEXPECTED, is_disk_full, nearest, retry_header
from app.http.routes import GuardedRoute
from app.services.external_models import NoConfiguration, NoGreyWindow, NotLoaded, NotOffered, UnknownBackend

logger = logging.getLogger(__name__)

_STATUS: dict[type[Exception], int] = {
    errors.BadInput: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Unavailable: 503,
    errors.Cancelled: 503,
    errors.SegloopError: 500,
}
"""The first class in the error's MRO counts."""


class Refusal(Exception):
    """An error response that the protocol defines: its status, and the text that the client shows."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Route(GuardedRoute):
    def refusal(self, request: Request, error: Exception) -> Response:
        """Unexpected errors are logged; the client gets a general message only."""
        status, text = _status_and_text(error)
        if status >= 500:
            unforeseen = not isinstance(error, Refusal | errors.SegloopError)
            logger.warning(
                "%s %s answered %d: %s",
                request.method,
                request.url.path,
                status,
                error,
                exc_info=error if unforeseen else None,
            )
        return JSONResponse({"error": text}, status, retry_header(error))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = sorted(self.methods or ())
        if scope["method"] in taken:
            await super().handle(scope, receive, send)
            return
        text = f"{scope['path']} takes {', '.join(taken)}, not {scope['method']}"
        await JSONResponse({"error": text}, 405, {"Allow": ", ".join(taken)})(scope, receive, send)


def worded(error: errors.SegloopError) -> str:
    """The text of an error, in the wording of ITKIT's server if it has one; clients show it unchanged."""
    match error:
        case NotLoaded():
            return f"Model not loaded: {error.name}" if error.name else "No model loaded"
        case NotOffered():
            return f"Model file not found: {error.asked}"
        case NoConfiguration():
            return f"Config file required for MMEngine: {error.configuration or None}"
        case UnknownBackend():
            return f"Unknown backend: {error.backend}"
        case NoGreyWindow():
            return "window_level/window_width required"
        case _:
            return str(error)


def _status_and_text(error: Exception) -> tuple[int, str]:
    if isinstance(error, Refusal):
        return error.status, str(error)
    if isinstance(error, errors.SegloopError):
        return nearest(_STATUS, error), worded(error)
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)
    if isinstance(error, ClientDisconnect):
        return 400, "the upload was broken off"
    if is_disk_full(error):
        return DISK_FULL_STATUS, DISK_FULL
    return 500, UNEXPECTED
