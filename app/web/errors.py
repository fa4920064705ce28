"""Which error becomes which HTTP status. The body is `{"detail": text}`, which every MONAI Label client shows."""

from __future__ import annotations

import errno
import logging

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from app import errors

logger = logging.getLogger(__name__)

STATUS: dict[type[errors.SegloopError], int] = {
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
"""The nearest class in an error's ancestry counts."""


def status_of(error: errors.SegloopError) -> int:
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def install(app: FastAPI) -> None:
    @app.exception_handler(errors.SegloopError)
    def expected(request: Request, error: errors.SegloopError) -> JSONResponse:
        status = status_of(error)
        if status >= 500:
            logger.warning("%s %s answered %d: %s", request.method, request.url.path, status, error)
        headers = {"Retry-After": str(round(error.retry_after))} if isinstance(error, errors.Unavailable) else None
        return JSONResponse({"detail": str(error)}, status, headers)

    @app.exception_handler(OSError)
    def disk(request: Request, error: OSError) -> JSONResponse:
        logger.exception("%s %s failed", request.method, request.url.path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return JSONResponse({"detail": "the server's disk is full; nothing was stored"}, 507)
        return JSONResponse({"detail": "the server could not read or write a file; its log says more"}, 500)

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse({"detail": "something went wrong in the server; its log says more"}, 500)
