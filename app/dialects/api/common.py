"""What every route uses: who asks and through what, errors whose `detail` is always text, bodies within a limit, times,
and how answers that are no JSON are described."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from app.http.bodies import limited
from app.http.errors import dotted, problems
from app.http.identity import LONGEST_NAME, identity, user_of
from app.http.routes import GuardedRoute
from app.services.prompting.log import Viewer


def viewer(
    request: Request,
    user: Annotated[str, Header(alias="X-Segloop-User", description="who is asking: percent-encoded UTF-8")] = "",
    client: Annotated[str, Header(alias="X-Segloop-Client", description="which program is asking")] = "browser",
) -> Viewer:
    """The person that the header names, else the one of the gate or the path, else whoever sits at that machine."""
    name = _on_one_line(unquote(user)) or _on_one_line(user_of(request))
    return Viewer(_on_one_line(client) or "browser", identity(request, name, "browser"))


Asking = Annotated[Viewer, Depends(viewer)]


class Route(GuardedRoute):
    """Everything but what FastAPI refuses goes to the application's own error table."""

    def received(self, request: Request) -> Request:
        # What comes as a file has its own limit, and is not read into memory here.
        return _Limited(request.scope, request.receive) if self.body_field is not None else request

    def refusal(self, request: Request, error: Exception) -> Response | None:
        if not isinstance(error, RequestValidationError):
            return None
        found = problems(error, lambda location: dotted(location[1:]))
        # The first few are enough to go on with.
        return JSONResponse({"detail": "; ".join(problem.removeprefix(": ") for problem in found[:5])}, 422)


class _Limited(Request):
    """A request whose body ends with an error once it is too long."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        async for chunk in limited(self, super().stream(), MOST_BYTES, _too_large):
            yield chunk


def _on_one_line(name: str) -> str:
    return "".join(letter for letter in name if letter.isprintable()).strip()[:LONGEST_NAME]


def binary(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """A file."""
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in media_types}}}


def text(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}


class EventStream(Response):
    media_type = "text/event-stream"


MOST_BYTES = 256 * 2**20
"""Of a JSON body. The mask of the largest volume that fits in memory takes about as much as base64 of bits."""


def _too_large() -> HTTPException:
    # The one kind of error that FastAPI passes on from where it reads a body.
    return HTTPException(413, detail=f"more than {MOST_BYTES >> 20} MiB of JSON")


def moment(seconds: float) -> datetime:
    """A time from the catalog, in seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)
