"""Addresses with a slash too many: ITKIT's plugins put their paths behind whatever base address a person typed."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

_SEVERAL = re.compile("/{2,}")
_SEVERAL_RAW = re.compile(b"/{2,}")


class OneSlash:
    """ASGI middleware: `//api///info` is `/api/info`. The query is left alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "//" in scope["path"]:
            raw = _SEVERAL_RAW.sub(b"/", scope.get("raw_path") or b"")
            scope = {**scope, "path": _SEVERAL.sub("/", scope["path"]), **({"raw_path": raw} if raw else {})}
        await self._app(scope, receive, send)
