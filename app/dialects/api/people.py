"""Who is asking, and through what. Names, not rights: the gate in front decides who may ask."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Header, Request

from app.services.prompting.log import Viewer

LONGEST = 200


def viewer(
    request: Request,
    user: Annotated[str, Header(alias="X-Segloop-User", description="who is asking: percent-encoded UTF-8")] = "",
    client: Annotated[str, Header(alias="X-Segloop-Client", description="which program is asking")] = "browser",
) -> Viewer:
    """The person that the header names, else the one of the gate or the path, else whoever sits at that machine."""
    host = request.client.host if request.client else "nowhere"
    who = _clean(unquote(user)) or _clean(getattr(request.state, "user", "")) or f"browser@{host}"
    return Viewer(_clean(client) or "browser", who)


Asking = Annotated[Viewer, Depends(viewer)]


def _clean(name: str) -> str:
    """A name that fits on one line: it is stored with labels, and shown in tables."""
    return "".join(letter for letter in name if letter.isprintable()).strip()[:LONGEST]
