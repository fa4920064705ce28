"""Who sends a request. Names, not rights: the gate in front decides who may ask."""

from __future__ import annotations

from fastapi import Request

LONGEST_NAME = 200
"""Characters of a name that are kept: it is stored with labels, and shown in tables."""


def user_of(request: Request) -> str:
    """The name that came with the path (`/u/<name>/`) or with Basic authentication; "" if none did."""
    user: str = getattr(request.state, "user", "")
    return user


def host_of(request: Request) -> str:
    """The address that a request comes from."""
    return request.client.host if request.client else "nowhere"


def identity(request: Request, name: str, kind: str = "viewer") -> str:
    """`name`, or for a request without a name `<kind>@<host>`: the program and where it runs."""
    return name or f"{kind}@{host_of(request)}"
