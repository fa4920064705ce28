"""Who stores something, and with what."""

from __future__ import annotations

from fastapi import Request


def person(request: Request) -> str:
    """The name that came with the request, else where it comes from: DICOMweb has no name of its own."""
    name: str = getattr(request.state, "user", "")
    return name or f"viewer@{request.client.host if request.client else 'nowhere'}"


def client(request: Request) -> str:
    """The viewer: OHIF if its page sent it, else what the program calls itself."""
    if "/ohif" in request.headers.get("referer", "").lower():
        return "OHIF"
    agent = request.headers.get("user-agent", "")
    browser = agent.startswith("Mozilla/")
    return "OHIF" if browser else (agent.split()[0][:64] if agent.split() else "DICOMweb")
