"""`/model/` (docs/protocols/monailabel.md, section 2): the weights a model uses, out, in, and away."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from app.dialects.monailabel.caller import caller
from app.dialects.monailabel.routes import route
from app.http.forms import received
from app.services import Services
from app.services.models import WeightsInfo
from app.workspace import Workspace


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["models"])
    incoming = Workspace(services.settings.workspace.absolute()).incoming

    @route(api, "GET", "/model/info/{model}")
    def info(model: str) -> dict[str, Any]:
        """The weights' checksum and age, and how their training went."""
        stats = services.jobs.train_stats().get(model)
        told = _told(services.models.weights_info(model))
        return {**told, "train_stats": stats} if stats else told

    @route(api, "GET", "/model/{model}")
    def download(model: str) -> FileResponse:
        """The weights file."""
        file = services.models.weights_file(model)
        return FileResponse(file, media_type="application/octet-stream", filename=f"{model}{file.suffix}")

    @route(api, "PUT", "/model/{model}")
    async def upload(request: Request, model: str) -> dict[str, Any]:
        """Serve the weights in the form's `file` from now on, as a new version."""
        async with received(request, incoming, services.settings.labels.max_upload_bytes) as form:
            who = caller(request, form.json("params").get("client_id"))
            file = form.needed("file")
            return _told(await run_in_threadpool(services.models.import_weights, model, file.file, who))

    @route(api, "DELETE", "/model/{model}")
    def retire(request: Request, model: str) -> dict[str, Any]:
        """Stop using the weights in use: the version before them is used again. Nothing is erased."""
        services.models.roll_back(model, caller(request, ""))
        return {}

    return api


def _told(info: WeightsInfo) -> dict[str, Any]:
    return {"checksum": f"SHA256:{info.sha256}", "modified_time": int(info.modified)}
