"""What errors have in common on every wire: the nearest status, the retry header, validation errors in words."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.errors import Unavailable

UNEXPECTED = "something went wrong in the server; its log says more"
"""The text of an error that nobody foresaw; what it really was stands in the log only."""

DISK_FULL = "the server's disk is full; nothing was stored"
DISK_FULL_STATUS = 507

Location = tuple[Any, ...]
Entry = TypeVar("Entry")


def nearest(table: Mapping[type[Exception], Entry], error: Exception) -> Entry:
    """The entry of the nearest class in an error's ancestry. Raises `StopIteration` if there is none."""
    return next(table[cls] for cls in type(error).__mro__ if cls in table)


def retry_header(error: Exception) -> dict[str, str] | None:
    """`Retry-After` of an error that may go away by itself."""
    return {"Retry-After": str(round(error.retry_after))} if isinstance(error, Unavailable) else None


def is_disk_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def dotted(location: Location) -> str:
    """Where in what was sent a value stands: `prompts.0.at`."""
    return ".".join(str(part) for part in location)


def problems(error: ValidationError | RequestValidationError, where: Callable[[Location], str] = dotted) -> list[str]:
    """What is wrong with what was sent, as `<where>: <why>` each. The values themselves are not repeated: they may be
    large, or say who a patient is."""
    return [f"{where(one['loc'])}: {one['msg']}" for one in error.errors()]
