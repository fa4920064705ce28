"""Routes of the pages to sign in, to sign out, and of a person's own tokens."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from app.core.people import TOKEN_DAYS, Person
from app.errors import BadInput, Conflict, Forbidden, NotFound
from app.http.identity import host_of
from app.services import Services
from app.web.browsers import is_own
from app.web.carriers import shown_in
from app.web.doors import Door
from app.web.gate import SLOW_SECONDS, set_cookie
from app.web.throttle import Throttle, network_of

HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
_FORM_BYTES = 64 * 1024
_DAY = 86400.0


def router(services: Services, door: Door, throttle: Throttle) -> APIRouter:
    """The routes `/sign-in`, which the gate leaves open, `/sign-out` and `/account`."""
    api = APIRouter(include_in_schema=False)
    pages = _Pages(services, door, throttle)

    @api.get("/sign-in")
    def sign_in_page(next: str = "") -> HTMLResponse:
        """The page to sign in on."""
        return pages.sign_in_page(next)

    @api.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        """Sign in, or make the first administrator."""
        form = await _form(request, services)
        return await pages.sign_in(request, form)

    @api.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        """End the session of this browser."""
        await _form(request, services)
        return await pages.sign_out(request)

    @api.get("/account")
    def account_page(request: Request) -> HTMLResponse:
        """A person's own tokens."""
        return pages.account_page(request)

    @api.post("/account")
    async def account(request: Request) -> Response:
        """Make a token, or revoke one."""
        form = await _form(request, services)
        return await run_in_threadpool(pages.change_tokens, request, form)

    return api


class _Pages:
    def __init__(self, services: Services, door: Door, throttle: Throttle) -> None:
        self._accounts = services.accounts
        self._name = services.settings.name
        self._door = door
        self._throttle = throttle
        self._templates = Environment(
            loader=PackageLoader("app.web.people"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._templates.filters["day"] = lambda seconds: f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"

    def sign_in_page(self, place: str, user: str = "", problem: str = "", status: int = 200) -> HTMLResponse:
        first = bool(self._accounts.first_code)
        title = "The first administrator" if first else "Sign in"
        return self._page(
            "sign_in.html", status, title=title, next=local(place), user=user, problem=problem, first=first
        )

    async def sign_in(self, request: Request, form: Mapping[str, str]) -> Response:
        name, password, place = form.get("name", "").strip(), form.get("password", ""), form.get("next", "")
        address = network_of(host_of(request))
        keys = [f"address {address}", f"account {name[:200]} at {address}"]
        if not self._throttle.allows(keys, f"{name}\0{password}"):
            await asyncio.sleep(SLOW_SECONDS)
            return self.sign_in_page(place, name, "Too many wrong passwords; try again in a few seconds.", 429)
        try:
            person = await run_in_threadpool(self._person, name, password, form.get("code", ""))
        except (BadInput, Conflict) as error:
            return self.sign_in_page(place, name, str(error), 400)
        if person is None:
            self._throttle.failed(keys)
            return self.sign_in_page(place, name, "That name, password or code is not right.", 401)
        self._throttle.succeeded(f"{name}\0{password}")
        answer = RedirectResponse(request.scope.get("root_path", "") + (local(place) or "/"), 303, HEADERS)
        set_cookie(answer, request.scope, request.headers, await self._door.cookie(person))
        return answer

    async def sign_out(self, request: Request) -> Response:
        for shown in shown_in("", request.headers):
            if shown.kind == "cookie":
                await run_in_threadpool(self._accounts.end, shown.secret)
        answer = RedirectResponse(f"{request.scope.get('root_path', '')}/sign-in", 303, HEADERS)
        set_cookie(answer, request.scope, request.headers, "")
        return answer

    def account_page(self, request: Request, secret: str = "", problem: str = "") -> HTMLResponse:
        person = _named(request)
        base = request.base_url
        return self._page(
            "account.html",
            400 if problem else 200,
            title="Your account",
            person=person,
            tokens=self._accounts.tokens(person.name),
            secret=secret,
            problem=problem,
            days=TOKEN_DAYS,
            address=f"{base.scheme}://{base.netloc}{base.path.rstrip('/')}",
        )

    def change_tokens(self, request: Request, form: Mapping[str, str]) -> HTMLResponse:
        person = _named(request)
        try:
            if "revoke" in form:
                self._accounts.revoke(_number(form["revoke"], 2**31), person.name, person.name)
                return self.account_page(request)
            label = "".join(c for c in form.get("label", "") if c.isprintable()).strip()
            if not label:
                raise BadInput("say what the token is for")
            days = _number(form.get("days", ""), 3650)
            return self.account_page(request, self._accounts.issue(person.name, "token", label, days * _DAY))
        except (BadInput, NotFound) as error:
            return self.account_page(request, problem=str(error))

    def _person(self, name: str, password: str, code: str) -> Person | None:
        wanted = self._accounts.first_code
        if not wanted:
            return self._accounts.by_password(name, password)
        if not secrets.compare_digest(code.strip().encode(), wanted.encode()):
            return None
        self._accounts.add(name, "administrator", password, name, only_first=True)
        return Person(name, "administrator")

    def _page(self, template: str, status: int, **values: object) -> HTMLResponse:
        page = self._templates.get_template(template).render(name=self._name, **values)
        return HTMLResponse(page, status, HEADERS)


def local(place: str) -> str:
    """A path of this server to go on to, percent-encoded; "" for anything else."""
    parts = urlsplit(place)
    if parts.scheme or parts.netloc or not place.startswith("/") or place[1:2] in ("/", "\\"):
        return ""
    return quote(parts.path, safe="/%:@!$&'()*+,;=~")


def _named(request: Request) -> Person:
    """Raises `Forbidden` for somebody without an account."""
    person: Person | None = getattr(request.state, "person", None)
    if person is None or not person.name:
        raise Forbidden("this is for people with an account; the shared token has none")
    return person


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= most):
        raise BadInput(f"{text[:20]!r} is no number from 1 to {most}")
    return int(text)


async def _form(request: Request, services: Services) -> dict[str, str]:
    """The fields of a form that was sent from a page of this server. Raises `Forbidden`, `BadInput`."""
    if not is_own(request.method, request.headers, services.settings.origins):
        raise Forbidden("pages of other sites may not sign anybody in or out")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_BYTES:
            raise BadInput("the form is too long")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20))
