"""Access control: one gate in front of every route, closed by default.

What lets a request in is a token or a password (`app.web.doors`), in whichever way its client supports:
`Authorization: Bearer <token>`, `Authorization: Basic`, or the path prefix `/t/<token>/` (the only way for tools that
send no header, such as 3D Slicer's image download). Browsers that open a page by that prefix get a session cookie
instead, and go on at the address without the token. Only `/livez`, `/healthz` (reduced to `{"ok": true}`), MONAI
Label's login calls (docs/protocols/monailabel.md, section 10) and the page to sign in on work without it. There is no
list of protected routes, so that a new route can't be left out.

A browser adds cookies and Basic credentials to requests of every page. So with these, and without any, a request must
not come from a page of another site (`app.web.browsers`). Without a token the server listens on loopback only, and
`Host` must be a loopback name (DNS rebinding); with one, `Host` must be among `hosts` if any are set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.people import Person
from app.web.browsers import LOOPBACK, host_of, is_named, is_own, is_page
from app.web.carriers import Shown, cookie_name, shown_in
from app.web.doors import COOKIE_SECONDS, Door, SharedToken
from app.web.throttle import Throttle, network_of

_OPEN = frozenset({"/livez"})
_LOGIN_BYTES = 64 * 1024
SLOW_SECONDS = 0.5
"""Until somebody who guesses is told so."""


class Gate:
    """ASGI middleware. `token` is "" for a server on loopback; `origins` are web origins that are allowed, `hosts` the
    names that `Host` may have besides loopback ones (none: any, with a token). `door` replaces the token."""

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        origins: frozenset[str],
        hosts: frozenset[str] = frozenset(),
        door: Door | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        self._app = app
        self._door = door or (SharedToken(token) if token else None)
        self._origins = origins
        self._hosts = hosts
        self._throttle = throttle or Throttle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            elif scope["type"] == "websocket":
                # There is none; before a handshake, this is answered with 403.
                await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        answer: ASGIApp | None = self._wrong_host(scope, headers)
        if answer is None:
            if self._door is None:
                answer = self._stranger(headers) or self._app
            else:
                answer = await self._through(self._door, scope, headers)
        await answer(scope, receive, send)

    def _wrong_host(self, scope: Scope, headers: Headers) -> Response | None:
        host = host_of(headers)
        if host in LOOPBACK or is_named(host, self._hosts) or (self._door is not None and not self._hosts):
            return None
        if self._door is not None and _below(scope) in _OPEN:
            return None  # health checks name addresses
        if self._door is None:
            return JSONResponse({"detail": "this server without a token answers to loopback names only"}, 403)
        return JSONResponse({"detail": "this server doesn't answer to that name (setting hosts)"}, 403)

    def _stranger(self, headers: Headers) -> Response | None:
        origin = headers.get("origin", "")
        local = urlsplit(origin).hostname in LOOPBACK
        foreign_page = headers.get("sec-fetch-site") == "cross-site" or (origin and not local)
        if foreign_page and origin not in self._origins:
            return _foreign()
        return None

    async def _through(self, door: Door, scope: Scope, headers: Headers) -> ASGIApp:
        shown = list(shown_in(_below(scope), headers))
        address = network_of((scope.get("client") or ("nowhere",))[0])
        try:
            person, carrier = await self._admitted(door, shown, address)
        except TooManyTries:
            await asyncio.sleep(SLOW_SECONDS)
            return _slow_down()
        if person is None or carrier is None:
            return await self._outside(door, scope, headers, address)
        if carrier.is_added_by_browsers and not is_own(scope["method"], headers, self._origins):
            return _foreign()
        return await self._inside(door, scope, headers, person, carrier)

    async def _admitted(self, door: Door, shown: Iterable[Shown], address: str) -> tuple[Person | None, Shown | None]:
        """Whom the first right credential belongs to. Raises `TooManyTries`."""
        wrong: list[str] = []
        for one in shown:
            keys = [f"address {address}", *([f"account {one.user} at {address}"] if one.user else [])]
            if one.kind != "cookie" and not self._throttle.allows(keys, one.secret):
                raise TooManyTries
            person = await door.admit(one)
            if person is not None:
                self._throttle.succeeded(one.secret)
                return person, one
            if one.kind != "cookie":  # an old one is no guess
                wrong = keys
        self._throttle.failed(wrong)
        return None, None

    async def _inside(self, door: Door, scope: Scope, headers: Headers, person: Person, carrier: Shown) -> ASGIApp:
        prefix = carrier.prefix
        path = _below(scope).removeprefix(prefix)
        if prefix and not path:
            # Without the trailing slash, the page's relative links would not resolve.
            return RedirectResponse(f"{prefix.rpartition('/')[2]}/")
        if prefix and is_page(scope["method"], headers):
            return await self._without_prefix(door, scope, headers, person, path)
        # The MONAI Label plugin calls `/auth/` before every request, and logs in if the answer says so. Requests that
        # log in by themselves are answered by the dialect, with 404.
        if carrier.kind == "bearer" and path.startswith("/auth"):
            if path.rstrip("/") == "/auth/token/valid":
                return _who_is_there(person)
            return await self._outside(door, scope, headers, "")
        state = {**scope.get("state", {}), "person": person}
        if person.name or carrier.user:
            state["user"] = person.name or carrier.user
        shared = door.token if isinstance(door, SharedToken) and carrier.kind in ("path", "cookie") else ""
        state["shown_token"] = shared or (carrier.secret if carrier.kind == "path" else "")
        # Starlette routes by what follows `root_path` in `path`.
        inner = {**scope, "state": state, "root_path": scope.get("root_path", "") + prefix}

        async def admitted(_: Scope, receive: Receive, send: Send) -> None:
            await self._app(inner, receive, send)

        return admitted

    async def _without_prefix(self, door: Door, scope: Scope, headers: Headers, person: Person, path: str) -> Response:
        """On to the same page at its address without the token, with a session cookie."""
        query = scope.get("query_string", b"").decode("latin-1")
        # No second slash at the start: `//host/` would lead to another host.
        place = scope.get("root_path", "") + "/" + quote(path.lstrip("/\\"), safe="/:@!$&'()*+,;=~")
        answer = RedirectResponse(f"{place}?{query}" if query else place, 303)
        set_cookie(answer, scope, headers, await door.cookie(person))
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cache-Control"] = "no-store"
        return answer

    async def _outside(self, door: Door, scope: Scope, headers: Headers, address: str) -> ASGIApp:
        path, method = _below(scope).rstrip("/"), scope["method"]
        preflight = method == "OPTIONS" and "access-control-request-method" in headers
        if path in _OPEN or preflight or (door.sign_in and path == door.sign_in):
            return self._app
        if path == "/healthz" and method == "GET":
            # nnInteractive's client calls this before it sends its key. With the key, the answer has more details.
            return JSONResponse({"ok": True})
        if path == "/auth" and method == "GET":
            return JSONResponse({"enabled": True, "client_id": "segloop", "realm": "segloop"})
        if path == "/auth/token" and method == "POST":
            return _LogIn(door, self._throttle, address)
        if door.sign_in and is_page(method, headers):
            root = scope.get("root_path", "")
            return RedirectResponse(f"{root}{door.sign_in}?next={quote(_below(scope), safe='/')}", 303)
        challenge = {"WWW-Authenticate": 'Basic realm="segloop"'}
        return JSONResponse({"detail": "this server asks for a token"}, 401, challenge)


class TooManyTries(Exception):
    """An address, or an account, has shown too many wrong credentials."""


class _LogIn:
    """MONAI Label's login (docs/protocols/monailabel.md, section 10): an ASGI application."""

    def __init__(self, door: Door, throttle: Throttle, address: str) -> None:
        self._door = door
        self._throttle = throttle
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        form = parse_qs((await _body(Request(scope, receive))).decode("utf-8", "replace"))
        user, password = ("".join(form.get(name, [])) for name in ("username", "password"))
        keys = [f"address {self._address}", f"account {user[:200]} at {self._address}"]
        if not self._throttle.allows(keys, password):
            await asyncio.sleep(SLOW_SECONDS)
            await _slow_down()(scope, receive, send)
            return
        token = await self._door.bearer(user, password)
        if token:
            answer = JSONResponse({"access_token": token, "token_type": "bearer"})
        else:
            self._throttle.failed(keys)
            answer = JSONResponse({"detail": "that password is not this server's token"}, 401)
        await answer(scope, receive, send)


def set_cookie(answer: Response, scope: Scope, headers: Headers, value: str) -> None:
    """Give the browser a session cookie; "" takes it away."""
    answer.set_cookie(
        cookie_name(headers),
        value,
        max_age=COOKIE_SECONDS if value else 0,
        path=scope.get("root_path", "") or "/",
        secure=scope.get("scheme") == "https",
        httponly=True,
        samesite="lax",  # a link on another site opens the page; what it may do is checked here (`is_own`)
    )


def _below(scope: Scope) -> str:
    """The path without where a proxy serves this server (`app.web.forwarding`)."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _foreign() -> Response:
    return JSONResponse({"detail": "pages of other sites may not use this server (setting origins)"}, 403)


def _slow_down() -> Response:
    return JSONResponse({"detail": "too many wrong tokens or passwords; try again later"}, 429, {"Retry-After": "2"})


def _who_is_there(person: Person) -> Response:
    name = person.name or "annotator"
    roles = [person.role] if person.name else ["annotator"]
    return JSONResponse({"username": name, "email": "", "name": name, "roles": roles})


async def _body(request: Request) -> bytes:
    """The body of a login form; the rest of a larger body isn't read."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LOGIN_BYTES:
            break
    return body
