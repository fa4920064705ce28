"""Where the visitor found the page, for the strings that go into viewers."""

from __future__ import annotations

from fastapi import Request

from app.services.addresses import Place


def place_of(request: Request, also: tuple[int, ...]) -> Place:
    """`also` are more ports of this host that the server answers on. The token that a visitor came with is in the
    address they see already; one in a header isn't shown."""
    base = request.base_url
    origin = f"{base.scheme}://{base.netloc}"
    parts = base.path.split("/")
    if parts[1:2] == ["t"]:
        return Place(origin, parts[2], also)
    return Place(origin, "TOKEN" if "authorization" in request.headers else "", also)
