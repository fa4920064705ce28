"""Access control: one gate in front of every route, closed by default.

With a token, every request must carry it, in whichever way its client supports: `Authorization: Bearer <token>`,
`Authorization: Basic` with the token as password, or the path prefix `/t/<token>/` (the only way for tools that send no
header, such as 3D Slicer's image download). Only `/livez`, `/healthz` (reduced to `{"ok": true}`) and MONAI Label's
login calls (docs/protocols/monailabel.md, section 10) work without it. There is no list of protected routes, so that a
new route can't be left out.

Without a token the server listens on loopback only, and two checks keep out requests from web pages of other sites: the
`Host` must be a loopback name (DNS rebinding), and the browser's headers must not name another site as the origin.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_OPEN = frozenset({"/livez"})
_LOGIN_BYTES = 64 * 1024


class Gate:
    """ASGI middleware. `token` is "" for a server on loopback; `origins` are web origins that are allowed."""

    def __init__(self, app: ASGIApp, token: str, origins: frozenset[str]) -> None:
        self._app = app
        self._token = token
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            elif scope["type"] == "websocket":
                # There is none; before a handshake, this is answered with 403.
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        if not self._token:
            refusal = self._stranger(headers)
            await (refusal or self._app)(scope, receive, send)
            return
        root = scope.get("root_path", "")
        below = scope["path"].removeprefix(root)
        prefix = self._prefix(below)
        if prefix and below == prefix:
            # Without the trailing slash, the page's relative links would not resolve.
            await RedirectResponse(f"{prefix.rpartition('/')[2]}/")(scope, receive, send)
            return
        path = below.removeprefix(prefix).rstrip("/")
        bearer = self._is_bearer(headers)
        if prefix:
            # Starlette routes by what follows `root_path` in `path`.
            scope = {**scope, "root_path": root + prefix}
        basic = self._basic_user(headers)
        if basic:
            scope = {**scope, "state": {**scope.get("state", {}), "user": basic}}
        if prefix or basic is not None or (bearer and not path.startswith("/auth")):
            await self._app(scope, receive, send)
            return
        # The MONAI Label plugin calls `/auth/` before every request, and logs in if the answer says so. Requests with
        # the token in the path or in Basic are authenticated; for them the dialect answers `/auth/` with 404.
        answer = _who_is_there() if bearer and path == "/auth/token/valid" else None
        await (answer or await self._outside(path, scope, receive))(scope, receive, send)

    def _stranger(self, headers: Headers) -> Response | None:
        host = urlsplit(f"//{headers.get('host', '')}").hostname
        if host not in LOOPBACK:
            return JSONResponse({"detail": "this server without a token answers to loopback names only"}, 403)
        origin = headers.get("origin", "")
        local = urlsplit(origin).hostname in LOOPBACK
        foreign_page = headers.get("sec-fetch-site") == "cross-site" or (origin and not local)
        if foreign_page and origin not in self._origins:
            return JSONResponse({"detail": "pages of other sites may not use this server (setting origins)"}, 403)
        return None

    async def _outside(self, path: str, scope: Scope, receive: Receive) -> ASGIApp:
        request = Request(scope, receive)
        preflight = request.method == "OPTIONS" and "access-control-request-method" in request.headers
        if path in _OPEN or preflight:
            return self._app
        if path == "/healthz" and request.method == "GET":
            # nnInteractive's client calls this before it sends its key. With the key, the answer has more details.
            return JSONResponse({"ok": True})
        if path == "/auth" and request.method == "GET":
            return JSONResponse({"enabled": True, "client_id": "segloop", "realm": "segloop"})
        if path == "/auth/token" and request.method == "POST":
            return self._log_in(await _body(request))
        challenge = {"WWW-Authenticate": 'Basic realm="segloop"'}
        return JSONResponse({"detail": "this server asks for a token"}, 401, challenge)

    def _log_in(self, body: bytes) -> Response:
        form = parse_qs(body.decode("utf-8", "replace"))
        if self._matches("".join(form.get("password", []))):
            return JSONResponse({"access_token": self._token, "token_type": "bearer"})
        return JSONResponse({"detail": "that password is not this server's token"}, 401)

    def _prefix(self, path: str) -> str:
        """`/t/<token>` if the path begins with it and the token is right, else ""."""
        if not path.startswith("/t/"):
            return ""
        token = path[3:].partition("/")[0]
        return f"/t/{token}" if self._matches(token) else ""

    def _is_bearer(self, headers: Headers) -> bool:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._matches(value.strip())

    def _basic_user(self, headers: Headers) -> str | None:
        """The user name, which may be "", of Basic authentication with the right password; None otherwise."""
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return user if self._matches(password) else None

    def _matches(self, shown: str) -> bool:
        return secrets.compare_digest(shown.encode(), self._token.encode())


def _who_is_there() -> Response:
    return JSONResponse({"username": "annotator", "email": "", "name": "annotator", "roles": ["annotator"]})


async def _body(request: Request) -> bytes:
    """The body of a login form; the rest of a larger body isn't read."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LOGIN_BYTES:
            break
    return body
