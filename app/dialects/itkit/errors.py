"""Errors as ITKIT's server words them: JSON `{"error": text}` (docs/protocols/itkit.md, section 3)."""

from __future__ import annotations

import errno
import logging

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app import errors

logger = logging.getLogger(__name__)

_STATUS: dict[type[errors.SegloopError], int] = {
    errors.BadInput: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Unavailable: 503,
    errors.Cancelled: 503,
    errors.SegloopError: 500,
}
"""The nearest class in an error's ancestry counts."""


class Refusal(Exception):
    """An answer that the protocol fixes: its status, and the text that the client shows."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def dressed(request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that failed. What nobody foresaw is logged and told in general terms only."""
    status, text = _told(error)
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
    headers = {"Retry-After": str(round(error.retry_after))} if isinstance(error, errors.Unavailable) else None
    return JSONResponse({"error": text}, status, headers)


def _told(error: Exception) -> tuple[int, str]:
    if isinstance(error, Refusal):
        return error.status, str(error)
    if isinstance(error, errors.SegloopError):
        return next(_STATUS[cls] for cls in type(error).__mro__ if cls in _STATUS), str(error)
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)
    if isinstance(error, ClientDisconnect):
        return 400, "the upload was broken off"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return 507, "the server's disk is full; nothing was stored"
    return 500, "something went wrong in the server; its log says more"
