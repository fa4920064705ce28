"""Recognising this protocol's requests, and its error responses.

Four paths are also nnInteractive's (docs/protocols/slicer-legacy.md, section 1). Its requests have a lease or an array
body; this protocol's are forms, or JSON with other keys.
"""

from __future__ import annotations

import logging

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from app.errors import SegloopError
from app.http.errors import problems
from app.http.routes import GuardedRoute

logger = logging.getLogger(__name__)


class Route(GuardedRoute):
    """A route whose errors have status 200 and a message: for any other status the client shows only the number."""

    def refusal(self, request: Request, error: Exception) -> Response | None:
        if isinstance(error, ClientDisconnect):
            return None
        if isinstance(error, SegloopError):
            return message_response(str(error))
        if isinstance(error, RequestValidationError):
            return message_response("; ".join(problems(error, lambda location: str(location[-1]))))
        if isinstance(error, HTTPException):
            return message_response(str(error.detail))
        logger.exception("%s %s failed", request.method, request.url.path)
        return message_response("Something went wrong in the server; its log says more.")


class SharedRoute(Route):
    """A route on a path that nnInteractive has too: it doesn't match requests that are certainly nnInteractive's."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            ours = kind == "multipart/form-data" if self.takes_forms else kind != "multipart/form-data"
            if "x-lease-token" in headers or "x-meta" in headers or not ours:
                return Match.NONE, {}
        return super().matches(scope)

    @property
    def takes_forms(self) -> bool:
        return self.path in ("/add_scribble_interaction", "/add_lasso_interaction")


def message_response(message: str) -> Response:
    """An error as the client shows it."""
    return JSONResponse({"status": "error", "message": message})


def no_lease() -> Response:
    """nnInteractive's response to one of its own requests without a lease."""
    return JSONResponse({"detail": "lease token missing"}, 410)
