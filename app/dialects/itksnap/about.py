"""GET `/status` and `/v2/models` (docs/protocols/itksnap.md, sections 2.1, 2.2)."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter

from app.core.model import ModelCard
from app.core.prompt import Lasso, Point, Prompt, Scribble
from app.dialects.itksnap.routes import PlainRoute
from app.errors import UnknownModel
from app.services import Services
from app.services.models import ModelService

PROTOCOL = "0.1.6"
"""The release of itksnap-dls that this dialect answers like. ITK-SNAP compares it with a minimum and can't read
anything but numbers and dots, so this server's own version stands elsewhere."""

NNINTERACTIVE = "nnInteractive"
"""The model that generation 1 and every lasso ask for by this name."""

_INTERACTIONS: dict[type[Prompt], str] = {Point: "point", Scribble: "scribble", Lasso: "lasso"}
"""ITK-SNAP knows the word `box` too, and has no call for it."""


def router(services: Services) -> APIRouter:
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
