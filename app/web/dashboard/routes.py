"""Where the page, its panels and its files are found. All its links are relative, so that `/t/<token>/` and
`/u/<name>/` before them keep working."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from app.errors import NotFound
from app.services import Services
from app.services.addresses import ways
from app.web.dashboard import gather
from app.web.dashboard.connection_info import place_of
from app.web.dashboard.files import static_files
from app.web.dashboard.templating import environment

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # the address may hold the token
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Asked:
    """What the address of the page, or of a panel, asks for."""

    strategy: str = ""
    page: int = 1
    zone: str = "UTC"


PANELS: Mapping[str, Callable[[Services, Asked], object]] = {
    "attention": lambda services, asked: gather.read_attention(services),
    "progress": lambda services, asked: gather.read_progress(services, asked.zone),
    "learning": lambda services, asked: gather.read_learning(services),
    "queue": lambda services, asked: gather.read_queue(services, asked.strategy, asked.page),
    "jobs": lambda services, asked: gather.read_jobs(services),
    "models": lambda services, asked: gather.read_models(services),
    "labels": lambda services, asked: gather.read_labels(services),
    "archive": lambda services, asked: gather.read_delivery(services),
    "sessions": lambda services, asked: gather.read_sessions(services),
}
"""What each panel shows. Its template is `panels/<name>.html` and calls it `view`."""

Strategy = Annotated[str, Query(max_length=200)]
Page = Annotated[int, Query(ge=1, le=10_000)]
Zone = Annotated[str, Query(max_length=64)]


def router(services: Services) -> APIRouter:
    api = APIRouter(include_in_schema=False)
    templates, files = environment(), static_files()
    # A rented pod's other ports have host names of their own.
    also = () if services.settings.pod else tuple(services.settings.also_ports)

    @api.get("/")
    def page(request: Request, strategy: Strategy = "", page: Page = 1, zone: Zone = "UTC") -> HTMLResponse:
        """The dashboard."""
        # A kept address may name a strategy that is gone; that is no reason to show nothing at all.
        known = strategy if strategy in services.next_case.strategies() else ""
        asked = Asked(known, page, zone)
        html = templates.get_template("page.html").render(
            name=services.settings.name,
            description=services.settings.description.rstrip("."),
            user=getattr(request.state, "user", ""),
            views={name: read(services, asked) for name, read in PANELS.items()},
            ways=ways(place_of(request, also)),
        )
        return HTMLResponse(html, headers=HEADERS)

    @api.get("/dashboard/panels/{name}")
    def panel(name: str, strategy: Strategy = "", page: Page = 1, zone: Zone = "UTC") -> HTMLResponse:
        """One panel of it."""
        if name not in PANELS:
            raise NotFound(f"the page has no panel {name!r}")
        view = PANELS[name](services, Asked(strategy, page, zone))
        return HTMLResponse(templates.get_template(f"panels/{name}.html").render(view=view), headers=HEADERS)

    @api.get("/dashboard/static/{name:path}")
    def static(request: Request, name: str) -> Response:
        """Its scripts and styles."""
        file = files.get(name)
        if file is None:
            return JSONResponse({"detail": "the page has no such file"}, 404)
        headers = {"ETag": file.etag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)

    return api
