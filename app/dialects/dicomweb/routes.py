"""Every resource answers GET and HEAD, and its UIDs are checked before anything is looked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter

from app.dialects.dicomweb.address import ROOT
from app.dicom.uids import check_uid

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

STUDY = f"/{ROOT}/studies/{{study}}"
SERIES = f"{STUDY}/series/{{series}}"
INSTANCE = f"{SERIES}/instances/{{sop}}"


def get(router: APIRouter, path: str) -> Callable[[Endpoint], Endpoint]:
    def register(endpoint: Endpoint) -> Endpoint:
        router.add_api_route(path, endpoint, methods=["GET"], response_model=None)
        router.add_api_route(path, endpoint, methods=["HEAD"], response_model=None, include_in_schema=False)
        return endpoint

    return register


def uids(*values: str) -> tuple[str, ...]:
    """The same values. Raises `BadInput` for one that is no UID; "" is none and passes."""
    return tuple(value and check_uid(value) for value in values)
