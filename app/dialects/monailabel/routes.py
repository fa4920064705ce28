"""Common parts of all endpoints: the user, and routes with and without a trailing slash, because no client follows a
redirect.

Protocol: docs/protocols/monailabel.md, section 1.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request

from app.http.identity import LONGEST_NAME, identity

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def route(router: APIRouter, method: str, path: str) -> Callable[[Endpoint], Endpoint]:
    """Decorate an endpoint; the API documentation lists the path as given here."""

    def register(endpoint: Endpoint) -> Endpoint:
        other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
        router.add_api_route(path, endpoint, methods=[method], response_model=None)
        router.add_api_route(other, endpoint, methods=[method], response_model=None, include_in_schema=False)
        return endpoint

    return register


def caller(request: Request, client_id: object) -> str:
    """The annotator's name (`client_id`), else the client's host: OHIF and the reviewer extension send no name."""
    return identity(request, client_id.strip()[:LONGEST_NAME] if isinstance(client_id, str) else "")
