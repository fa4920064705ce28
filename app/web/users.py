"""Whose request it is, for viewers that can't say so: the path prefix `/u/<name>/`.

SlicerNNInteractive (legacy) has neither sessions nor names, and its base address may have a path. The prefix is taken
off before anything is routed; endpoints find the name in `request.state.user`. It is a name, not a right: what lets a
request in is the gate's matter, which stands in front.
"""

from __future__ import annotations

from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.identity import LONGEST_NAME


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
