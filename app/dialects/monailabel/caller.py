"""Who is asking."""

from __future__ import annotations

from fastapi import Request


def caller(request: Request, client_id: object) -> str:
    """The name an annotator gave (`client_id`), else where the request comes from: OHIF and the reviewer send none."""
    name = client_id.strip()[:200] if isinstance(client_id, str) else ""
    host = request.client.host if request.client else "nowhere"
    return name or f"viewer@{host}"
