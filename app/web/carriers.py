"""How a request carries what lets it in: a path prefix, a header, or a cookie."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Literal
from urllib.parse import urlsplit

from starlette.datastructures import Headers

Kind = Literal["path", "basic", "bearer", "cookie"]

PATH = "/t/"


@dataclass(frozen=True)
class Shown:
    """One credential of a request. `user` is the name beside it, which only Basic has."""

    kind: Kind
    secret: str
    user: str = ""

    @property
    def is_added_by_browsers(self) -> bool:
        """Whether browsers add it to requests that pages of other sites make."""
        return self.kind in ("basic", "cookie")

    @property
    def prefix(self) -> str:
        """What it puts in front of the path."""
        return f"{PATH}{self.secret}" if self.kind == "path" else ""


def shown_in(path: str, headers: Headers) -> Iterator[Shown]:
    """The credentials of a request, in the order in which they are tried."""
    if path.startswith(PATH) and (token := path[len(PATH) :].partition("/")[0]):
        yield Shown("path", token)
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        yield Shown("bearer", value.strip())
    elif scheme.lower() == "basic" and (basic := _basic(value)) is not None:
        yield basic
    if cookie := _cookie(headers):
        yield Shown("cookie", cookie)


def cookie_name(headers: Headers) -> str:
    """The name of this server's cookie: cookies of one host are shared by all its ports, and several servers may be
    on one."""
    try:
        port = urlsplit(f"//{headers.get('host', '')}").port
    except ValueError:
        port = None
    return f"segloop_{port}" if port else "segloop"


def _basic(value: str) -> Shown | None:
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Shown("basic", password, user)


def _cookie(headers: Headers) -> str:
    name = cookie_name(headers)
    for header in headers.getlist("cookie"):
        if name in header:
            try:
                found = SimpleCookie(header).get(name)
            except CookieError:
                continue
            if found is not None:
                return found.value
    return ""
