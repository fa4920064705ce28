"""`/proxy/dicom/` (contract 11): the archive's DICOMweb for viewers that are pointed at this server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from app.services import Services
from app.services.dicomweb_proxy import DicomwebProxy


def router(services: Services) -> APIRouter:
    upstream = DicomwebProxy(services.settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await upstream.close()

    api = APIRouter(tags=["DICOMweb"], lifespan=lifespan)

    # One address for what the contract calls wado, qido and stow: they are one service.
    @api.get("/proxy/dicom/{path:path}", response_model=None)
    @api.head("/proxy/dicom/{path:path}", response_model=None)
    @api.post("/proxy/dicom/{path:path}", response_model=None)
    async def forward(request: Request, path: str) -> StreamingResponse:
        """Ask the archive, with its credentials and without the caller's."""
        for kind in ("wado", "qido", "stow"):
            if path == kind or path.startswith(f"{kind}/"):
                path = path[len(kind) :].lstrip("/")
                break
        body = request.stream() if request.method == "POST" else None
        answer = await upstream.forward(request.method, path, request.url.query, request.headers, body)
        return StreamingResponse(
            answer.chunks, answer.status, dict(answer.headers), background=BackgroundTask(answer.close)
        )

    return api
