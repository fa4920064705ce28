"""Which role a route needs, if people have accounts.

Whoever may come in at all (`app.web.gate`) is an annotator, and that is enough for every route that isn't listed here.
The table in `docs/routes.md` is made from the application's routes and this list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette._utils import get_route_path
from starlette.responses import JSONResponse
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.people import Person, Role

LEAST: Mapping[str, Role] = {
    # What others labelled, and what is made from it
    "DELETE /datastore/label": "reviewer",
    "GET /datastore/dataset": "reviewer",
    "GET /model/{model}": "reviewer",
    "POST /train/": "reviewer",
    "POST /train/{model}": "reviewer",
    "DELETE /train/": "reviewer",
    "POST /scoring/": "reviewer",
    "POST /scoring/{method}": "reviewer",
    "DELETE /scoring/": "reviewer",
    "POST /batch/infer/{model}": "reviewer",
    "DELETE /batch/infer": "reviewer",
    "POST /api/v1/exports": "reviewer",
    "GET /api/v1/exports/{export_id}": "reviewer",
    "GET /api/v1/exports/{export_id}/file": "reviewer",
    "POST /api/v1/jobs": "reviewer",
    "DELETE /api/v1/jobs/{job_id}": "reviewer",
    "POST /api/v1/outbox/retry": "reviewer",
    "POST /api/v1/outbox/{label_id}/retry": "reviewer",
    # Which weights everybody works with, what images there are, and the server itself
    "PUT /model/{model}": "administrator",
    "DELETE /model/{model}": "administrator",
    "POST /api/v1/models/{name}/serve": "administrator",
    "POST /api/v1/models/{name}/rollback": "administrator",
    "DELETE /datastore/": "administrator",
    "DELETE /datastore/image": "administrator",
    "GET /api/v1/quarantine": "administrator",
    "DELETE /api/v1/quarantine/{path:path}": "administrator",
    "POST /reload": "administrator",
    "GET /logs/": "administrator",
    "GET /logs/gpu": "administrator",
}
"""`METHOD path`, as the route is declared; with a slash at the end or without one."""

_BARE = {key.rstrip("/"): role for key, role in LEAST.items()}


def least_role(method: str, path: str) -> Role:
    """The role that a route needs; `path` is its template."""
    return _BARE.get(f"{'GET' if method == 'HEAD' else method} {path}".rstrip("/"), "annotator")


class Rights:
    """ASGI middleware, right before routing, where paths are without prefixes. Without accounts and tokens there are no
    people, and everybody may do everything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._listed: dict[tuple[str, str], list[tuple[re.Pattern[str], Role]]] = {}
        for key, role in _BARE.items():
            method, path = key.split(" ")
            # As the router matches it, with or without a slash at the end.
            pattern = re.compile(compile_path(path)[0].pattern.removesuffix("$") + "/?$")
            self._listed.setdefault((method, _first(path)), []).append((pattern, role))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        person: Person | None = scope.get("state", {}).get("person") if scope["type"] == "http" else None
        if person is not None and person.role != "administrator":
            least = self._least(scope["method"], get_route_path(scope))
            if not person.may(least):
                said = f"this needs the role {least}; yours is {person.role}"
                await JSONResponse({"detail": said}, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _least(self, method: str, path: str) -> Role:
        listed = self._listed.get(("GET" if method == "HEAD" else method, _first(path)), ())
        return next((role for pattern, role in listed if pattern.match(path)), "annotator")


def _first(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""
