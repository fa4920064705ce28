"""`/ohif/`: the viewer's files, its page, its configuration and our extension."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.errors import NotFound
from app.services import Services
from app.web.viewer.config import PLUGIN, app_config
from app.web.viewer.files import TYPES, Files
from app.web.viewer.install import STAMP, home
from app.web.viewer.page import index, missing

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
