"""Addresses as clients write them, brought to those that are routed. ASGI middleware.

- ITKIT's plugins put their paths behind whatever base address a person typed, so slashes may be doubled.
- Viewers that can't say whose request it is use the path prefix `/u/<name>/`: SlicerNNInteractive (legacy) has neither
  sessions nor names, and its base address may have a path. The prefix is taken off before anything is routed; endpoints
  find the name in `request.state.user`. It is a name, not a right: what lets a request in is the gate's matter, which
  stands in front.
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
    """ASGI middleware: `//api///info` is `/api/info`. The query is left alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "//" in scope["path"]:
            raw = _SEVERAL_RAW.sub(b"/", scope.get("raw_path") or b"")
            scope = {**scope, "path": _SEVERAL.sub("/", scope["path"]), **({"raw_path": raw} if raw else {})}
        await self._app(scope, receive, send)


class UserPrefix:
    """ASGI middleware."""

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
    """What MONAI Label's clients call wado, qido and stow is one service, that under `/dicom-web/`."""

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
