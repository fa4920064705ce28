"""The server itself: its log (`/logs/`), for people, and `/auth/` (docs/protocols/monailabel.md, section 10)."""

from __future__ import annotations

import shutil
import subprocess
from html import escape
from typing import NoReturn

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from app.dialects.monailabel.routes import route
from app.http.routes import JsonRoute
from app.services import Services

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}: log</title>{refresh}
<style>:root {{ color-scheme: light dark }}
pre {{ font: 13px/1.4 ui-monospace, monospace; white-space: pre-wrap }}</style>
</head><body><pre>{text}</pre></body></html>
"""


def router(services: Services) -> APIRouter:
    api = APIRouter(route_class=JsonRoute)
    logs = APIRouter(tags=["logs"], route_class=JsonRoute)
    _add_logs(logs, services)
    login = APIRouter(tags=["login"], route_class=JsonRoute)
    _add_login(login)
    api.include_router(logs)
    api.include_router(login)
    return api


def _add_logs(api: APIRouter, services: Services) -> None:
    @route(api, "GET", "/logs/")
    def log(lines: int = 300, html: bool = True, text: bool = False, refresh: int = 0) -> Response:
        """The last `lines` of the log, all of it if that isn't positive; `refresh` reloads the page every so many
        seconds."""
        content = services.logs.tail(lines)
        if text or not html:
            return PlainTextResponse(content)
        again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh > 0 else ""
        return HTMLResponse(_PAGE.format(name=escape(services.settings.name), refresh=again, text=escape(content)))

    @route(api, "GET", "/logs/gpu")
    def gpu() -> PlainTextResponse:
        """What `nvidia-smi` says."""
        tool = shutil.which("nvidia-smi")
        if tool is None:
            return PlainTextResponse("nvidia-smi is not on this machine\n")
        run = subprocess.run([tool], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
        return PlainTextResponse(run.stdout + run.stderr)


def _add_login(api: APIRouter) -> None:
    # With a token, `app.web.gate` handles these; requests that arrive here are authenticated.
    @route(api, "GET", "/auth/")
    @route(api, "POST", "/auth/token")
    @route(api, "GET", "/auth/token/valid")
    def no_login() -> NoReturn:
        """404, which means to clients that there is no login."""
        raise HTTPException(404, detail="there is no login here")
