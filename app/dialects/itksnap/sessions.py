"""What ITK-SNAP asks before it does anything (`/status`, `/v2/models`); starting a session, sending it an image,
starting over, ending it (docs/protocols/itksnap.md, sections 2, 3)."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from app.core.model import ModelCard
from app.core.prompt import Lasso, Point, Prompt, Scribble
from app.core.volume import Volume
from app.dialects.itksnap.buffers import read_image
from app.dialects.itksnap.images import Images
from app.dialects.itksnap.metadata import Voxels, read_metadata, received
from app.dialects.itksnap.routes import PlainRoute, person
from app.errors import UnknownModel, UnknownSession
from app.services import Services
from app.services.models import ModelService

PROTOCOL = "0.1.6"
"""The release of itksnap-dls that this dialect answers like. ITK-SNAP compares it with a minimum and can't read
anything but numbers and dots, so this server's own version stands elsewhere."""

NNINTERACTIVE = "nnInteractive"
"""The model that generation 1 and every lasso ask for by this name."""

_INTERACTIONS: dict[type[Prompt], str] = {Point: "point", Scribble: "scribble", Lasso: "lasso"}
"""ITK-SNAP knows the word `box` too, and has no call for it."""


def about_router(services: Services) -> APIRouter:
    api = APIRouter(route_class=PlainRoute)
    server = f"segloop {version('segloop')}"

    @api.get("/status")
    async def status() -> dict[str, str]:
        """The server is there.

        Polled every ten seconds. On the event loop, so that it waits for no thread however much is going on.
        """
        return {"status": "ok", "version": PROTOCOL, "server": server}

    @api.get("/v2/models")
    def models() -> dict[str, Any]:
        """What can be prompted. Fetched once for each connection."""
        return {"models": listing(services.models)}

    return api


def listing(models: ModelService) -> list[dict[str, Any]]:
    """Every interactive model that is ready, and always `nnInteractive`: without it ITK-SNAP's lasso doesn't work.

    Untrained ones are left out, because ITK-SNAP picks the first by name when nothing was chosen before.
    """
    ready = [card.name for card in models.cards() if card.kind == "interactive" and card.ready]
    names = ready if NNINTERACTIVE in ready else [NNINTERACTIVE, *ready]
    entries = []
    for name in names:
        try:
            card = interactive_card(models, name)
        except UnknownModel:
            continue  # the settings have no interactive model at all
        accepts = models.interactive(card.name).accepts if card.ready else frozenset()
        interactions = [word for kind, word in _INTERACTIONS.items() if kind in accepts]
        entries.append({"id": name, "dimensions": card.dimension, "channels": [1], "interactions": interactions})
    return entries


def interactive_card(models: ModelService, asked: str) -> ModelCard:
    """The model that is meant by an id: of the settings, or the default one for `nnInteractive`.

    Raises `UnknownModel` for anything that isn't promptable here.
    """
    cards = {card.name: card for card in models.cards() if card.kind == "interactive"}
    if asked in cards:
        return cards[asked]
    if asked == NNINTERACTIVE:
        return cards[models.default_interactive()]
    raise UnknownModel(f"no model {asked!r} for prompts; there are: {', '.join([NNINTERACTIVE, *cards])}")


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
