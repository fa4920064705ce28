"""Who may come in. One gate in front of everything, closed unless something opens it.

With a token, every request has to show it, in whichever way its client can: `Authorization: Bearer <token>`,
`Authorization: Basic` with the token as password, or the path prefix `/t/<token>/` (the only way for tools that send no
header, such as 3D Slicer's image download). Only `/livez`, `/healthz` (in one word) and MONAI Label's
login calls (docs/protocols/monailabel.md, section 10) answer without. There is one gate and no list of protected
addresses, so that no new route can forget it.

Without a token the server listens on loopback only, and two checks keep web pages out that a person merely visits: the
`Host` must be a loopback name (DNS rebinding), and a browser must not say that another site sent the request.
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
    """ASGI middleware. `token` is "" for a server on loopback; `origins` are web origins that may use it."""

    def __init__(self, app: ASGIApp, token: str, origins: frozenset[str]) -> None:
        self._app = app
        self._token = token
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._token:
            refusal = self._stranger(headers)
            await (refusal or self._app)(scope, receive, send)
            return
        prefix = self._prefix(scope["path"])
        if prefix and scope["path"] == prefix:
            # The address as people paste it; links of the page behind it are relative and need the slash.
            await RedirectResponse(f"{prefix.rpartition('/')[2]}/")(scope, receive, send)
            return
        path = scope["path"].removeprefix(prefix).rstrip("/")
        bearer = self._is_bearer(headers)
        if prefix:
            # Starlette routes by what follows `root_path` in `path`.
            scope = {**scope, "root_path": scope.get("root_path", "") + prefix}
        basic = self._basic_user(headers)
        if basic:
            scope = {**scope, "state": {**scope.get("state", {}), "user": basic}}
        if prefix or basic is not None or (bearer and not path.startswith("/auth")):
            await self._app(scope, receive, send)
            return
        # The MONAI Label plugin asks `/auth/` before every call, and logs in if it is told to. Who came by path or
        # with Basic is in already; for them `/auth/` goes on to the dialect, which says that there is no such thing.
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
            # nnInteractive's client asks before it shows a key. Who shows one gets to know more.
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
        """The user name next to the right password, which may be empty; None if there is no such."""
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
    """A login form; whatever comes beyond its possible size is not read."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LOGIN_BYTES:
            break
    return body
