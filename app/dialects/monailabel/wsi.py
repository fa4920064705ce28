"""`/infer/wsi` (docs/protocols/monailabel.md, section 5.7): whole-slide images, which this server will not do."""

from __future__ import annotations

from fastapi import APIRouter

from app.dialects.monailabel.routes import route
from app.errors import NotSupported
from app.services import Services


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["whole-slide images"])

    @route(api, "POST", "/infer/wsi/{model}")
    @route(api, "POST", "/infer/wsi_v2/{model}")
    def wsi(model: str) -> None:
        """Not served: 501."""
        raise NotSupported("this server segments radiology volumes; it does not read whole-slide images")

    return api
