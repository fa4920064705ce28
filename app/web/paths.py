"""ASGI middleware that rewrites request paths before routing.

- ITKIT's plugins append their paths to the base URL that was entered, so slashes may be doubled.
- Viewers that can't send a user name use the path prefix `/u/<name>/`: SlicerNNInteractive (legacy) has neither
  sessions nor names, but its base URL may have a path. The prefix is removed before routing; endpoints find the name in
  `request.state.user`. It gives no rights: access control is the gate's task, which runs first.
- MONAI Label calls the DICOMweb service `/proxy/dicom/` (docs/protocols/monailabel.md, section 11).
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.identity import LONGEST_NAME

_SEVERAL = re.compile("/{2,}")
_SEVERAL_RAW = re.compile(b"/{2,}")


_ALIAS = "/proxy/dicom/"
_DICOMWEB = "/dicom-web/"


class OneSlash:
    """Collapses repeated slashes: `//api///info` becomes `/api/info`. The query is unchanged."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "//" in scope["path"]:
            raw = _SEVERAL_RAW.sub(b"/", scope.get("raw_path") or b"")
            scope = {**scope, "path": _SEVERAL.sub("/", scope["path"]), **({"raw_path": raw} if raw else {})}
        await self._app(scope, receive, send)


class UserPrefix:
    """Removes `/u/<name>` from the path and sets `request.state.user`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = _named(scope)
        await self._app(scope, receive, send)


def _named(scope: Scope) -> Scope:
    root = scope.get("root_path", "")
    path = scope["path"].removeprefix(root)
    if not path.startswith("/u/"):
        return scope
    name, slash, _ = path[3:].partition("/")
    user = unquote(name).strip()[:LONGEST_NAME]
    if not user or not slash:
        return scope
    # Starlette routes by what follows `root_path` in `path`.
    return {**scope, "root_path": f"{root}/u/{name}", "state": {**scope.get("state", {}), "user": user}}


class DicomwebAlias:
    """Maps MONAI Label's `/proxy/dicom/` with its parts wado, qido and stow to the one service at `/dicom-web/`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            root = scope.get("root_path", "")
            path = scope["path"].removeprefix(root)
            if path.startswith(_ALIAS):
                kind, _, rest = path.removeprefix(_ALIAS).partition("/")
                named = rest if kind in ("wado", "qido", "stow") else path.removeprefix(_ALIAS)
                target = f"{root}{_DICOMWEB}{named}"
                scope = {**scope, "path": target, "raw_path": target.encode()}
        await self._app(scope, receive, send)
