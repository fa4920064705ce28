"""The user of a request. Names give no rights: access control is the gate's task (`app.web.gate`)."""

from __future__ import annotations

from fastapi import Request

LONGEST_NAME = 200
"""Longer names are truncated: they are stored with labels and shown in tables."""


def user_of(request: Request) -> str:
    """The user name from the path (`/u/<name>/`) or from Basic authentication; "" if there is none."""
    user: str = getattr(request.state, "user", "")
    return user


def host_of(request: Request) -> str:
    """The client's network address."""
    return request.client.host if request.client else "nowhere"


def identity(request: Request, name: str, kind: str = "viewer") -> str:
    """`name`, or `<kind>@<host>` if it is "": the program and where it runs."""
    return name or f"{kind}@{host_of(request)}"
