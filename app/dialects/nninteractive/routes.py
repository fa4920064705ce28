"""Error responses: `detail` is always text, 410 means a missing lease, and 503 only that all sessions are in use,
because clients interpret every 503 that way.

Protocol: docs/protocols/nninteractive.md, section 5.
"""

from __future__ import annotations

import logging

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from app import errors
from app.dialects.nninteractive.leases import AllInUse, NoLease
from app.http.errors import DISK_FULL, DISK_FULL_STATUS, is_disk_full, nearest, problems
from app.http.routes import GuardedRoute

logger = logging.getLogger(__name__)

STATUS: dict[type[Exception], int] = {
    NoLease: 410,
    AllInUse: 503,
    errors.BadInput: 400,
    errors.UnknownSession: 410,
    errors.NotFound: 409,
    errors.Conflict: 409,
    errors.ResourceExhausted: 507,
    errors.Unavailable: 409,
    errors.NotSupported: 400,
    errors.Cancelled: 409,
    errors.SegloopError: 500,
    MemoryError: 507,
}
"""The first class in the error's MRO counts. `NotFound` is a model that isn't served, not an unknown path."""

_FULL = 10
"""Retry-After for a session in seconds, as in the original server."""


class Route(GuardedRoute):
    """A route whose errors clients of nnInteractive understand."""

    def refusal(self, request: Request, error: Exception) -> Response | None:
        if isinstance(error, errors.SegloopError | NoLease | AllInUse | MemoryError):
            return _refusal(error)
        if isinstance(error, RequestValidationError):
            unreadable = any(one["type"] in _UNREADABLE and len(one["loc"]) <= 2 for one in error.errors())
            return JSONResponse({"detail": "; ".join(problems(error))}, 422 if unreadable else 400)
        return JSONResponse({"detail": DISK_FULL}, DISK_FULL_STATUS) if is_disk_full(error) else None


_UNREADABLE = frozenset({"json_invalid", "model_attributes_type", "dict_type"})
"""Bodies that are no JSON, or no object; anything else is a key that is missing or wrong."""


def _refusal(error: Exception) -> Response:
    status = nearest(STATUS, error)
    if status >= 500 and not isinstance(error, AllInUse):
        logger.warning("answered %d: %s", status, error)
    headers = {"Retry-After": str(_FULL)} if isinstance(error, AllInUse) else None
    return JSONResponse({"detail": str(error) or "the server is out of memory"}, status, headers)
