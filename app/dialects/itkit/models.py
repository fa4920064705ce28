"""Listing, loading and unloading models (docs/protocols/itkit.md, sections 2 and 3): `/api/health`, `/api/info`,
`/api/model`, `/api/models`.

The two generations have different statuses for the same errors, see `_Generation`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NoReturn

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from app.dialects.itkit.routes import Refusal, worded
from app.errors import BadFile, NotSupported, UnknownModel
from app.http.bodies import whole_body
from app.services import Services
from app.services.external_models import LoadedModel, LoadRequest, NoConfiguration, NotLoaded

_MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class _Generation:
    """Status of a body that isn't JSON and of an MMEngine model without its configuration; text for no model file."""

    no_json: int
    no_config: int
    no_model: str


_PLURAL = _Generation(no_json=500, no_config=500, no_model="Model file not found: None")
_SINGULAR = _Generation(no_json=400, no_config=400, no_model="Model path is required")


def add_info(api: APIRouter, services: Services) -> None:
    loaded = services.external

    @api.get("/health")
    def health() -> dict[str, Any]:
        """Liveness, and the number of GPUs that models may use."""
        cards = loaded.cards()
        return {"status": "ok", "cuda_available": cards > 0, "cuda_device_count": cards}

    @api.get("/info")
    def info() -> dict[str, Any]:
        """The models, for both generations: `model` for one, `models` for the other. The number of GPUs has another
        name here than in `/api/health`."""
        cards, current = loaded.cards(), loaded.current()
        return {
            "name": services.settings.name,
            "version": version("segloop"),
            "cuda_available": cards > 0,
            "device_count": cards,
            "model": model_object(current) if current is not None else None,
            "models": {name: model_object(model) for name, model in loaded.all().items()},
        }


def model_object(model: LoadedModel) -> dict[str, Any]:
    """A model object, with the names as the client sent them; it contains no paths of this server."""
    asked = model.request
    return {
        "name": model.name,
        "backend_type": asked.backend,
        "config_path": asked.config or None,
        "model_path": asked.model,
        "inference_config": dict(asked.options),
        "loaded": model.loaded,
    }


def add(api: APIRouter, services: Services) -> None:
    loaded = services.external

    @api.post("/model")
    async def load(request: Request) -> dict[str, Any]:
        """Load a model in place of the current one (singular API)."""
        asked = _load_request(await _json_object(request, _SINGULAR), _SINGULAR)
        return await run_in_threadpool(_loading, lambda: loaded.load(asked), _SINGULAR)

    @api.post("/models")
    async def load_named(request: Request) -> dict[str, Any]:
        """Load a model under a name (plural API)."""
        sent = await _json_object(request, _PLURAL)
        name = _text(sent, "name").strip()
        if not name:
            raise Refusal(400, "Model name is required")
        asked = _load_request(sent, _PLURAL)
        return await run_in_threadpool(_loading, lambda: loaded.load_named(name, asked), _PLURAL)

    @api.delete("/model")
    def unload() -> dict[str, Any]:
        """Unload the current model (singular API)."""
        loaded.unload()
        return {"status": "success"}

    @api.delete("/models/{name:path}")
    def unload_named(name: str) -> dict[str, Any]:
        """Unload a model by its name (plural API)."""
        try:
            loaded.unload_named(name)
        except NotLoaded as error:
            raise Refusal(404, f"Model not found: {name}") from error
        return {"status": "success", "message": f"Model {name} unloaded"}


def _loading(load: Callable[[], LoadedModel], generation: _Generation) -> dict[str, Any]:
    try:
        return {"status": "success", "model": model_object(load())}
    except UnknownModel as error:
        status = generation.no_config if isinstance(error, NoConfiguration) else 400
        raise Refusal(status, worded(error)) from error
    except (BadFile, NotSupported) as error:
        raise Refusal(500, worded(error)) from error


async def _json_object(request: Request, generation: _Generation) -> dict[str, Any]:
    """The body as JSON. Malformed JSON with the right Content-Type counts as empty, as in the original server."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Refusal(generation.no_json, "Content-Type must be application/json")
    body = await whole_body(request, _MOST_BYTES)
    try:
        # NaN isn't valid JSON and couldn't be returned to a client.
        sent = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        sent = {}
    return sent if isinstance(sent, dict) else {}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _load_request(sent: dict[str, Any], generation: _Generation) -> LoadRequest:
    backend, model, config = (_text(sent, key) for key in ("backend_type", "model_path", "config_path"))
    options = sent.get("inference_config")
    if not backend:
        raise Refusal(400, "Backend type is required")
    if not model and not (backend.lower() == "mmengine" and config):
        raise Refusal(400, generation.no_model)
    if options is not None and not isinstance(options, dict):
        raise Refusal(400, "inference_config should be an object")
    return LoadRequest(backend, model, config, options or {})


def _text(sent: dict[str, Any], key: str) -> str:
    value = sent.get(key)
    if value is not None and not isinstance(value, str):
        raise Refusal(400, f"{key} should be text")
    return value or ""
