"""What every endpoint uses: who asks, and routes with and without the slash at their end, because no
client follows a redirect.

Protocol: docs/protocols/monailabel.md, section 1.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request

from app.http.identity import LONGEST_NAME, identity

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def route(router: APIRouter, method: str, path: str) -> Callable[[Endpoint], Endpoint]:
    """Decorate an endpoint; the API page lists the form of the path that is given here."""

    def register(endpoint: Endpoint) -> Endpoint:
        other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
        router.add_api_route(path, endpoint, methods=[method], response_model=None)
        router.add_api_route(other, endpoint, methods=[method], response_model=None, include_in_schema=False)
        return endpoint

    return register


def caller(request: Request, client_id: object) -> str:
    """The name an annotator gave (`client_id`), else where the request comes from: OHIF and the reviewer send none."""
    return identity(request, client_id.strip()[:LONGEST_NAME] if isinstance(client_id, str) else "")
