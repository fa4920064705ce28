"""Swagger UI at `/docs` and ReDoc at `/redoc`, from files of an installed package: no other server is asked.

The pages are the same for every request, whatever its address was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from app.errors import NotFound

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src"
    " 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
{head}</head><body style="margin: 0">
{body}</body></html>
"""
_SWAGGER = _PAGE.format(
    head='<link rel="stylesheet" href="docs/swagger-ui.css">\n',
    body='<div id="swagger-ui"></div>\n<script src="docs/swagger-ui-bundle.js"></script>\n'
    '<script src="docs/start.js"></script>\n',
)
_REDOC = _PAGE.format(
    head="", body='<redoc spec-url="openapi.json"></redoc>\n<script src="docs/redoc.standalone.js"></script>\n'
)
_START = b"""SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str


def router() -> APIRouter:
    """The routes `/docs` and `/redoc`, and of their files below `/docs/`."""
    api = APIRouter(include_in_schema=False)
    loaded: dict[str, _File] = {}

    @api.get("/docs")
    def swagger() -> HTMLResponse:
        """Every call, to read and to try (Swagger UI)."""
        return HTMLResponse(_SWAGGER, headers=HEADERS)

    @api.get("/redoc")
    def redoc() -> HTMLResponse:
        """Every call, to read (ReDoc)."""
        return HTMLResponse(_REDOC, headers=HEADERS)

    @api.get("/docs/{name}")
    def file(name: str) -> Response:
        """Their scripts and styles."""
        if not loaded:
            loaded.update(_files())
        found = loaded.get(name)
        if found is None:
            raise NotFound("the page has no such file")
        headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Response(found.content, media_type=found.media_type, headers=headers)

    return api


def _files() -> Mapping[str, _File]:
    """Read when they are first wanted: they take three megabytes."""
    folder = files("fastapi_offline") / "static"
    found = {
        entry.name: _File(entry.read_bytes(), kind)
        for entry in folder.iterdir()
        for ending, kind in _TYPES.items()
        if entry.name.endswith(ending)
    }
    return {**found, "start.js": _File(_START, _TYPES[".js"])}
