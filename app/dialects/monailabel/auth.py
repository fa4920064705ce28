"""`/auth/` (docs/protocols/monailabel.md, section 10).

With a token set, `app.web.gate` answers these; what arrives here is let in already.
"""

from __future__ import annotations

from typing import NoReturn

from fastapi import APIRouter, HTTPException

from app.dialects.monailabel.routes import route
from app.services import Services


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["login"])

    @route(api, "GET", "/auth/")
    @route(api, "POST", "/auth/token")
    @route(api, "GET", "/auth/token/valid")
    def nobody_has_to() -> NoReturn:
        """404, by which clients learn that there is no login."""
        raise HTTPException(404, detail="there is no login here")

    return api
