"""Headers of every page: what the browser may load, and that nobody may frame it."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEFAULT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
"""For pages that don't say what they need: no script runs in them, wherever their text comes from."""


class PageHeaders:
    """ASGI middleware: sets them on answers that a browser would show as a document, where they aren't set yet."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _complete(MutableHeaders(raw=message["headers"]))
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def _complete(headers: MutableHeaders) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml"):
        return
    headers.setdefault("Content-Security-Policy", DEFAULT_POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")
