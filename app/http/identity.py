"""The user of a request. Names that clients say give no rights: access control is the gate's task (`app.web.gate`)."""

from __future__ import annotations

from fastapi import Request

from app.core.people import Person

MARK = " (shared token)"
"""After a name that anybody could have said, where others have accounts."""

LONGEST_NAME = 200
"""Longer names are truncated: they are stored with labels and shown in tables."""


def account_of(request: Request) -> str:
    """The name of the caller's account; "" without one."""
    person: Person | None = getattr(request.state, "person", None)
    return "" if person is None else person.name


def user_of(request: Request) -> str:
    """The name of the account; else the user name from the path (`/u/<name>/`) or from Basic authentication; "" if
    there is none."""
    return _known_as(request, getattr(request.state, "user", ""))


def host_of(request: Request) -> str:
    """The client's network address."""
    return request.client.host if request.client else "nowhere"


def identity(request: Request, name: str, kind: str = "viewer") -> str:
    """The name of the account; else `name`, or `<kind>@<host>` if it is "": the program and where it runs."""
    return _known_as(request, name) or f"{kind}@{host_of(request)}"


def _known_as(request: Request, name: str) -> str:
    person: Person | None = getattr(request.state, "person", None)
    if person is None or not (person.name or person.marked):
        return name
    return person.name or (f"{name.removesuffix(MARK)}{MARK}" if name else "")
