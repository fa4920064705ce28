"""The HTTP status of each error. The body is `{"detail": text}`, which every MONAI Label client shows."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import errors
from app.http.errors import DISK_FULL, DISK_FULL_STATUS, UNEXPECTED, is_disk_full, nearest, retry_header

logger = logging.getLogger(__name__)

STATUS: dict[type[Exception], int] = {
    errors.BadInput: 400,
    errors.GeometryMismatch: 422,
    errors.UnusableSeries: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.AlreadyRunning: 429,  # docs/protocols/monailabel.md, section 9
    errors.Forbidden: 403,
    errors.Unavailable: 503,
    errors.NotSupported: 501,
    errors.IntegrityError: 500,
    errors.Cancelled: 503,
    errors.SegloopError: 500,
}
"""The first class in the error's MRO counts."""


def install(app: FastAPI) -> None:
    """Add the exception handlers to an application."""

    @app.exception_handler(errors.SegloopError)
    def expected(request: Request, error: errors.SegloopError) -> JSONResponse:
        status = nearest(STATUS, error)
        if status >= 500:
            logger.warning("%s %s answered %d: %s", request.method, request.url.path, status, error)
        return JSONResponse({"detail": str(error)}, status, retry_header(error))

    @app.exception_handler(OSError)
    def disk(request: Request, error: OSError) -> JSONResponse:
        logger.exception("%s %s failed", request.method, request.url.path)
        if is_disk_full(error):
            return JSONResponse({"detail": DISK_FULL}, DISK_FULL_STATUS)
        return JSONResponse({"detail": "the server could not read or write a file; its log says more"}, 500)

    @app.exception_handler(OverflowError)
    def too_large(request: Request, error: OverflowError) -> JSONResponse:
        logger.warning("%s %s has a number that is out of range", request.method, request.url.path, exc_info=error)
        return JSONResponse({"detail": "a number in the request is out of range"}, 400)

    app.add_middleware(Unexpected)


class Unexpected:
    """ASGI middleware: any other error is logged, and answered with 500. With an exception handler of Starlette it
    would be raised once more after the answer, and Uvicorn would close the connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            logger.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            await JSONResponse({"detail": UNEXPECTED}, 500)(scope, receive, send)
