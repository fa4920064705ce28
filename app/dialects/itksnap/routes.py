"""Responses to malformed requests: one plain sentence, because ITK-SNAP shows the body unchanged."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from app.http.errors import Location, problems
from app.http.identity import identity, user_of
from app.http.routes import GuardedRoute


class PlainRoute(GuardedRoute):
    """A route whose 422 has a sentence as `detail` instead of FastAPI's list, as other errors have already."""

    def refusal(self, request: Request, error: Exception) -> Response | None:
        if isinstance(error, RequestValidationError):
            return JSONResponse({"detail": _sentence(error)}, 422)
        if isinstance(error, ClientDisconnect):
            return JSONResponse({"detail": "the upload broke off"}, 400)  # the client has disconnected
        return None


def person(request: Request) -> str:
    """The user: the name from the path or the login, else the client's host."""
    return identity(request, user_of(request))


def _sentence(error: RequestValidationError) -> str:
    where, colon, why = problems(error, _part)[0].partition(": ")
    return f"{where}{colon}{why[:1].lower()}{why[1:]}"


def _part(location: Location) -> str:
    return str(location[1]) if len(location) > 1 else "the request"
