"""The viewer's routes. Files are looked up in a listing made in advance; request paths are never joined to a folder."""

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
"""Fixed here: the system's table differs between machines, and browsers don't run scripts with a wrong type."""

_HASHED = re.compile(r"(?:.*\.)?[0-9a-f]{16}\.(?:js|wasm|woff2)")
_DAY = "private, max-age=86400"
_ASK = "private, no-cache"


@dataclass(frozen=True)
class Files:
    """The files below a folder by relative name. Compressed copies (`x.js.gz`) aren't listed."""

    by_name: Mapping[str, Path]

    @classmethod
    def below(cls, folder: Path) -> Files:
        """List the files below a folder that have a known type."""
        found = (path for path in sorted(folder.rglob("*")) if path.suffix in TYPES and path.is_file())
        return cls({path.relative_to(folder).as_posix(): path for path in found})

    def answer(self, name: str, request: Request) -> Response | None:
        """The file's response, compressed if there is a copy and the browser accepts gzip; None without such a file."""
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
    """The viewer's routes, below `/ohif`."""
    api = APIRouter(include_in_schema=False)
    settings = services.settings
    folder = home(settings.viewer_folder)

    @lru_cache(maxsize=1)
    def installed(_: int) -> Files:
        return Files.below(folder)

    def viewer() -> Files | None:
        """The installed files, listed again if the installation has changed while the server runs."""
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
        # Paths such as `viewer` and `segloop` are client-side routes of the page. A missing file must be a 404: given
        # the page, a browser would try to run it as a script.
        if name == "index.html" or not PurePosixPath(name).suffix:
            return index(files.by_name["index.html"], _root(request))
        return _found(files.answer(name, request), name)

    return api


def _root(request: Request) -> str:
    """This server's path prefix, percent-encoded."""
    return quote(request.scope.get("root_path", ""), safe="/")


def _found(answer: Response | None, name: str) -> Response:
    if answer is None:
        raise NotFound(f"the viewer has no file {name!r}")
    return answer
