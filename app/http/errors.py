"""Error handling common to all protocols: status lookup, the Retry-After header, validation errors as text."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.errors import Unavailable

UNEXPECTED = "something went wrong in the server; its log says more"
"""The text for unexpected errors; details are only logged."""

DISK_FULL = "the server's disk is full; nothing was stored"
DISK_FULL_STATUS = 507

Location = tuple[Any, ...]
Entry = TypeVar("Entry")


def nearest(table: Mapping[type[Exception], Entry], error: Exception) -> Entry:
    """The entry of the first class in the error's MRO that is in the table. Raises `StopIteration` if none is."""
    return next(table[cls] for cls in type(error).__mro__ if cls in table)


def retry_header(error: Exception) -> dict[str, str] | None:
    """The `Retry-After` header for a temporary error; None for others."""
    return {"Retry-After": str(round(error.retry_after))} if isinstance(error, Unavailable) else None


def is_disk_full(error: Exception) -> bool:
    """Whether an error means that the disk or a quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def dotted(location: Location) -> str:
    """The path of a value in the request: `prompts.0.at`."""
    return ".".join(str(part) for part in location)


def problems(error: ValidationError | RequestValidationError, where: Callable[[Location], str] = dotted) -> list[str]:
    """The validation errors, each as `<where>: <why>`. The values aren't repeated: they may be large or identify a
    patient."""
    return [f"{where(one['loc'])}: {one['msg']}" for one in error.errors()]
