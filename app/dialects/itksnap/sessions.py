"""Starting a session, sending it an image, starting over, ending it (docs/protocols/itksnap.md, sections 2, 3)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from app.core.volume import Volume
from app.dialects.itksnap.about import NNINTERACTIVE, interactive_card
from app.dialects.itksnap.buffers import read_image
from app.dialects.itksnap.images import Images
from app.dialects.itksnap.metadata import Voxels, read_metadata, received
from app.dialects.itksnap.routes import PlainRoute, person
from app.errors import UnknownSession
from app.services import Services


def router(services: Services, images: Images) -> APIRouter:
    api = APIRouter(route_class=PlainRoute)
    _add_start_and_end(api, services, images)
    _add_upload(api, services, images)
    return api


def _add_start_and_end(api: APIRouter, services: Services, images: Images) -> None:
    @api.get("/start_session")
    def start() -> dict[str, str]:
        """An id for the one model that generation 1 knows."""
        return start_with(NNINTERACTIVE)

    @api.get("/v2/start_session/{model_id}")
    def start_with(model_id: str) -> dict[str, str]:
        """An id for a model. It costs nothing, and stays good for ever."""
        card = interactive_card(services.models, model_id)
        services.models.interactive(card.name)  # says so now if it isn't trained
        return {"session_id": images.ids.new(model_id)}

    @api.get("/reset_interactions/{session_id}")
    @api.get("/v2/reset_interactions/{session_id}")
    def reset(session_id: str) -> dict[str, str]:
        """Forget all prompts: another label is being drawn."""
        with images.of(session_id) as session:
            session.reset()
        return {"status": "success"}

    @api.get("/end_session/{session_id}")
    @api.get("/v2/end_session/{session_id}")
    def end(session_id: str) -> dict[str, str]:
        """Give memory back. Never an error: ITK-SNAP doesn't look at the answer."""
        try:
            images.drop(session_id)
        except UnknownSession:
            return {"message": "no such session"}
        return {"message": "session ended"}


def _add_upload(api: APIRouter, services: Services, images: Images) -> None:
    incoming = services.incoming
    most = services.settings.labels.max_upload_bytes

    @api.post("/upload_raw/{session_id}")
    @api.post("/v2/upload_raw/{session_id}")
    async def upload(request: Request, session_id: str) -> dict[str, str]:
        """The image to segment, whatever its query says it is called.

        It takes the place of the one before even if it is refused: ITK-SNAP shows the new one, and must not get a
        mask of the old one for it, whose length it wouldn't check.
        """
        await run_in_threadpool(images.drop, session_id)
        async with received(request, incoming, most) as voxels:
            await run_in_threadpool(_take, services, images, voxels, session_id, person(request))
        return {"message": "image stored"}


def _take(services: Services, images: Images, voxels: Voxels, session_id: str, who: str) -> None:
    model = interactive_card(services.models, images.ids.model_of(session_id)).name
    grid = read_metadata(voxels.metadata, services.settings.labels.max_upload_bytes)
    with voxels.file.open("rb") as packed:
        image = Volume(read_image(packed, grid), grid.geometry)
    images.put(session_id, image, grid.placed, model, who)
