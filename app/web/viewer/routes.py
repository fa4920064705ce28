"""The viewer's addresses, and what may be served: names that were listed beforehand, never joined to a path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from app.errors import NotFound
from app.services import Services
from app.web.viewer.install import STAMP, home
from app.web.viewer.page import PLUGIN, app_config, index, missing

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webapp": "application/manifest+json",
    ".woff2": "font/woff2",
    ".xml": "text/xml; charset=utf-8",
}
"""Stated here: what the system's table says differs between machines, and browsers run no script of a wrong type."""

_HASHED = re.compile(r"(?:.*\.)?[0-9a-f]{16}\.(?:js|wasm|woff2)")
_DAY = "private, max-age=86400"
_ASK = "private, no-cache"


@dataclass(frozen=True)
class Files:
    """The files below a folder, by their names relative to it. A compressed twin (`x.js.gz`) has no name of its own."""

    by_name: Mapping[str, Path]

    @classmethod
    def below(cls, folder: Path) -> Files:
        found = (path for path in sorted(folder.rglob("*")) if path.suffix in TYPES and path.is_file())
        return cls({path.relative_to(folder).as_posix(): path for path in found})

    def answer(self, name: str, request: Request) -> Response | None:
        """The file of that name, compressed if there is such a twin and the browser takes it; None if there is none."""
        path = self.by_name.get(name)
        if path is None:
            return None
        twin = path.with_name(path.name + ".gz")
        packed = "gzip" in request.headers.get("accept-encoding", "") and twin.is_file()
        sent = twin if packed else path
        state = sent.stat()
        headers = {
            "Cache-Control": _DAY if _HASHED.fullmatch(path.name) else _ASK,
            "ETag": f'"{state.st_mtime_ns:x}-{state.st_size:x}"',
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
            **({"Content-Encoding": "gzip"} if packed else {}),
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return FileResponse(sent, headers=headers, media_type=TYPES[path.suffix], stat_result=state)


_PLUGIN = Files.below(Path(__file__).parents[1] / "ohif")


def router(services: Services) -> APIRouter:
    api = APIRouter(include_in_schema=False)
    settings = services.settings
    folder = home(settings.viewer_folder)

    @lru_cache(maxsize=1)
    def installed(_: int) -> Files:
        return Files.below(folder)

    def viewer() -> Files | None:
        """Listed again when another installation is there, which may come while the server runs."""
        try:
            return installed((folder / STAMP).stat().st_mtime_ns)
        except OSError:
            return None

    @api.get("/ohif")
    def without_slash(request: Request) -> Response:
        """Redirects to the viewer."""
        return RedirectResponse(f"{_root(request)}/ohif/")

    @api.get("/ohif/app-config.js")
    def configuration(request: Request) -> Response:
        """OHIF's configuration."""
        script = app_config(_root(request), settings.name)
        return Response(script, media_type=TYPES[".js"], headers={"Cache-Control": "no-store"})

    @api.get(f"/ohif/{PLUGIN}/{{name:path}}")
    def plugin(name: str, request: Request) -> Response:
        """The modules of segloop's extension."""
        return _found(_PLUGIN.answer(name, request), name)

    @api.get("/ohif/{name:path}")
    def file_or_page(name: str, request: Request) -> Response:
        """OHIF's files, and its page."""
        files = viewer()
        if files is None:
            return missing(settings.name, folder, _root(request))
        # The viewer's own addresses (`viewer`, `segloop`) are routes inside its page. A file that isn't there must not
        # become a page: a browser would try to run it as a script.
        if name == "index.html" or not PurePosixPath(name).suffix:
            return index(files.by_name["index.html"], _root(request))
        return _found(files.answer(name, request), name)

    return api


def _root(request: Request) -> str:
    """The path in front of every address of this server, as it is written in an address."""
    return quote(request.scope.get("root_path", ""), safe="/")


def _found(answer: Response | None, name: str) -> Response:
    if answer is None:
        raise NotFound(f"the viewer has no file {name!r}")
    return answer
