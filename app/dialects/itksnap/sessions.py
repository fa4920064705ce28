"""The calls that ITK-SNAP makes first (`/status`, `/v2/models`), and starting, uploading to, resetting and ending a
session (docs/protocols/itksnap.md, sections 2, 3)."""

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
"""The release of itksnap-dls that this dialect is compatible with. ITK-SNAP compares it with a minimum and parses only
numbers and dots, so this server's own version isn't used here."""

NNINTERACTIVE = "nnInteractive"
"""The model name that generation 1 and every lasso use."""

_INTERACTIONS: dict[type[Prompt], str] = {Point: "point", Scribble: "scribble", Lasso: "lasso"}
"""ITK-SNAP also knows `box`, but has no call for it."""


def about_router(services: Services) -> APIRouter:
    api = APIRouter(route_class=PlainRoute)
    server = f"segloop {version('segloop')}"

    @api.get("/status")
    async def status() -> dict[str, str]:
        """Liveness.

        ITK-SNAP polls this every ten seconds. It runs on the event loop, so that it never waits for a free thread.
        """
        return {"status": "ok", "version": PROTOCOL, "server": server}

    @api.get("/v2/models")
    def models() -> dict[str, Any]:
        """The interactive models. ITK-SNAP fetches them once per connection."""
        return {"models": listing(services.models)}

    return api


def listing(models: ModelService) -> list[dict[str, Any]]:
    """Every interactive model that is ready, and always `nnInteractive`: without it ITK-SNAP's lasso doesn't work.

    Untrained models are left out, because ITK-SNAP selects the first by name if none was chosen before.
    """
    ready = [card.name for card in models.cards() if card.kind == "interactive" and card.ready]
    names = ready if NNINTERACTIVE in ready else [NNINTERACTIVE, *ready]
    entries = []
    for name in names:
        try:
            card = interactive_card(models, name)
        except UnknownModel:
            continue  # the settings have no interactive model
        accepts = models.interactive(card.name).accepts if card.ready else frozenset()
        interactions = [word for kind, word in _INTERACTIONS.items() if kind in accepts]
        entries.append({"id": name, "dimensions": card.dimension, "channels": [1], "interactions": interactions})
    return entries


def interactive_card(models: ModelService, asked: str) -> ModelCard:
    """The model for an id: one of the settings, or the default one for `nnInteractive`.

    Raises `UnknownModel` for a model that takes no prompts here.
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
        """A session id for the only model that generation 1 knows."""
        return start_with(NNINTERACTIVE)

    @api.get("/v2/start_session/{model_id}")
    def start_with(model_id: str) -> dict[str, str]:
        """A session id for a model. It takes no memory and doesn't expire."""
        card = interactive_card(services.models, model_id)
        services.models.interactive(card.name)  # raises now if it isn't trained
        return {"session_id": images.ids.new(model_id)}

    @api.get("/reset_interactions/{session_id}")
    @api.get("/v2/reset_interactions/{session_id}")
    def reset(session_id: str) -> dict[str, str]:
        """Remove all prompts: the user starts another label."""
        with images.of(session_id) as session:
            session.reset()
        return {"status": "success"}

    @api.get("/end_session/{session_id}")
    @api.get("/v2/end_session/{session_id}")
    def end(session_id: str) -> dict[str, str]:
        """Free the session's memory. Never an error: ITK-SNAP ignores the response."""
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
        """The image to segment; the file name in the query is ignored.

        The previous image is dropped even if this one is rejected: ITK-SNAP shows the new one, and must not get a mask
        of the old one for it, because it doesn't check its length.
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
