"""GET `/api/health` and `/api/info` (docs/protocols/itkit.md, sections 2.1 and 2.2)."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter

from app.services import Services
from app.services.external_models import LoadedModel


def add(api: APIRouter, services: Services) -> None:
    loaded = services.loaded

    @api.get("/health")
    def health() -> dict[str, Any]:
        """The server lives; how many graphics cards models may use."""
        cards = loaded.cards()
        return {"status": "ok", "cuda_available": cards > 0, "cuda_device_count": cards}

    @api.get("/info")
    def info() -> dict[str, Any]:
        """What can segment, for both generations: `model` for the one, `models` for the other. The number of cards has
        another name here than in `/api/health`."""
        cards, current = loaded.cards(), loaded.current()
        return {
            "name": services.settings.name,
            "version": version("segloop"),
            "cuda_available": cards > 0,
            "device_count": cards,
            "model": told(current) if current is not None else None,
            "models": {name: told(model) for name, model in loaded.all().items()},
        }


def told(model: LoadedModel) -> dict[str, Any]:
    """A model object: what the client asked for, as it said it. No path of this server's is in it."""
    asked = model.request
    return {
        "name": model.name,
        "backend_type": asked.backend,
        "config_path": asked.config or None,
        "model_path": asked.model,
        "inference_config": dict(asked.options),
        "loaded": model.loaded,
    }
