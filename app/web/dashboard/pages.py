"""Routes of the page, its panels and its static files. All links are relative, so that they work below `/t/<token>/`
and `/u/<name>/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from app.errors import NotFound
from app.http.identity import account_of, user_of
from app.services import Services
from app.services.addresses import Place, connections
from app.web.dashboard import health, learning, work

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
    """The query parameters of the page and its panels."""

    strategy: str = ""
    page: int = 1
    zone: str = "UTC"


PANELS: Mapping[str, Callable[[Services, Asked], object]] = {
    "attention": lambda services, asked: health.read_attention(services),
    "progress": lambda services, asked: work.read_progress(services, asked.zone),
    "learning": lambda services, asked: learning.read_learning(services),
    "queue": lambda services, asked: work.read_queue(services, asked.strategy, asked.page),
    "jobs": lambda services, asked: learning.read_jobs(services),
    "models": lambda services, asked: learning.read_models(services),
    "labels": lambda services, asked: work.read_labels(services),
    "archive": lambda services, asked: health.read_delivery(services),
    "sessions": lambda services, asked: health.read_sessions(services),
}
"""Reads each panel's view. The template is `panels/<name>.html`, with the view as `view`."""

Strategy = Annotated[str, Query(max_length=200)]
Page = Annotated[int, Query(ge=1, le=10_000)]
Zone = Annotated[str, Query(max_length=64)]


def router(services: Services) -> APIRouter:
    api = APIRouter(include_in_schema=False)
    templates, files = environment(), static_files()
    # On a rented pod, each port has its own host name.
    also = () if services.settings.pod else tuple(services.settings.also_ports)

    @api.get("/")
    def page(request: Request, strategy: Strategy = "", page: Page = 1, zone: Zone = "UTC") -> HTMLResponse:
        """The dashboard."""
        # A bookmarked URL may name a strategy that no longer exists; then the default is shown.
        known = strategy if strategy in services.next_case.strategies() else ""
        asked = Asked(known, page, zone)
        html = templates.get_template("page.html").render(
            name=services.settings.name,
            description=services.settings.description.rstrip("."),
            user=user_of(request),
            account=account_of(request),
            views={name: read(services, asked) for name, read in PANELS.items()},
            connections=connections(place_of(request, also, services.settings.root_path)),
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


def environment() -> Environment:
    found = Environment(
        loader=PackageLoader("app.web.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "moment": moment,
        "share": share,
        "dice": dice,
        "mebibytes": mebibytes,
        "duration": duration,
        "segment": lambda text: quote(text, safe=""),
    }
    return found


UNKNOWN = "\N{EN DASH}"
"""Shown in tables for a missing number."""


def moment(time: datetime) -> Markup:
    """A time in UTC; the page's script converts it to the reader's time zone and format."""
    iso = time.strftime("%Y-%m-%dT%H:%M:%SZ")
    text = time.strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(iso, text)


def share(value: float) -> str:
    """0..1 as a percentage; 0 % and 100 % are used for exactly 0 and 1 only."""
    percent = round(100 * value)
    if percent == 100 and value < 1:
        percent = 99
    if percent == 0 and value > 0:
        percent = 1
    return f"{percent} %"


def dice(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


def mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB".replace(",", "\N{NO-BREAK SPACE}")


def duration(seconds: float | None) -> str:
    """In the two largest units: `45 s`, `3 min 10 s`, `2 h 5 min`."""
    if seconds is None:
        return UNKNOWN
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""The types that are served; other files in the folder (licences, notes) aren't."""


@dataclass(frozen=True)
class StaticFile:
    content: bytes
    media_type: str

    @property
    def etag(self) -> str:
        return f'"{sha256(self.content).hexdigest()[:32]}"'


def static_files() -> Mapping[str, StaticFile]:
    """The page's script, style and chart library by relative name, such as `vendor/uPlot.esm.js`. They are read once:
    no path from a request is ever opened."""
    return _found(files("app.web.dashboard") / "static", "")


def _found(folder: Traversable, prefix: str) -> dict[str, StaticFile]:
    found: dict[str, StaticFile] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            found |= _found(entry, f"{prefix}{entry.name}/")
            continue
        media_type = next((kind for ending, kind in TYPES.items() if entry.name.endswith(ending)), None)
        if media_type is not None:
            found[prefix + entry.name] = StaticFile(entry.read_bytes(), media_type)
    return found


def place_of(request: Request, also: tuple[int, ...], root_path: str) -> Place:
    """The server's place as the visitor reached it. `also` are further ports on which it listens, `root_path` where a
    proxy serves it. The token by which the visitor opened the page is shown; one from a header isn't."""
    base = request.base_url
    prefix = root_path if base.path.startswith(f"{root_path}/") else ""
    placeholder = "TOKEN" if hasattr(request.state, "person") else ""
    token = getattr(request.state, "shown_token", "") or placeholder
    return Place(f"{base.scheme}://{base.netloc}", token, also, prefix)
