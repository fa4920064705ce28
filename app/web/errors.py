"""The HTTP status of each error. The body is `{"detail": text}`, which every MONAI Label client shows."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

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

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse({"detail": UNEXPECTED}, 500)
