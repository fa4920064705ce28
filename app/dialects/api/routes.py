"""Errors whose `detail` is always text, and bodies that are read up to a limit."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

MOST_BYTES = 256 * 2**20
"""Of a JSON body. The mask of the largest volume that fits in memory takes about as much as base64 of bits."""


class Route(APIRoute):
    """Everything else goes to the application's own error table."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            # What comes as a file has its own limit, and is not read into memory here.
            body = _Limited(request.scope, request.receive) if self.body_field is not None else request
            try:
                return await handle(body)
            except RequestValidationError as error:
                return JSONResponse({"detail": _told(error)}, 422)

        return guarded


class _Limited(Request):
    """A request whose body ends with an error once it is too long."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        declared = self.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared) > MOST_BYTES:
            raise _too_large()
        size = 0
        async for chunk in super().stream():
            size += len(chunk)
            if size > MOST_BYTES:
                raise _too_large()
            yield chunk


def _too_large() -> HTTPException:
    # The one kind of error that FastAPI passes on from where it reads a body.
    return HTTPException(413, detail=f"more than {MOST_BYTES >> 20} MiB of JSON")


def _told(error: RequestValidationError) -> str:
    """The first few problems in words. What was sent is not repeated: it may be large, or say who a patient is."""
    problems = [f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors()[:5]]
    return "; ".join(problem.removeprefix(": ") for problem in problems)
