"""`/info/`, from which viewers build their user interface, and `/model/`, downloading, uploading and rolling back a
model's weights (docs/protocols/monailabel.md, sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from app.core.model import ModelCard, ModelKind, Option
from app.dialects.monailabel.routes import caller, route
from app.http.forms import received
from app.http.routes import JsonRoute
from app.services import Services
from app.services.jobs import TrainingStatus
from app.services.models import WeightsInfo

TYPES: dict[ModelKind, str] = {
    "interactive": "deepgrow",
    "deepedit": "deepedit",
    "scribbles": "scribbles",
    "automatic": "segmentation",
}
"""`deepgrow` is the only type that both viewers treat as one structure with including and excluding clicks
(docs/protocols/monailabel.md, section 3.1)."""


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["info"], route_class=JsonRoute)

    @route(api, "GET", "/info/")
    def info() -> dict[str, Any]:
        """What this server offers. There is no top-level `config`, because Slicer fails to load with one."""
        cards = sorted(services.models.cards(), key=lambda card: not card.ready)  # the first of a type is its default
        labels = list(dict.fromkeys(_without_background([*services.labels.structures(), *_labels_of(cards)])))
        total, completed = services.cases.counts()
        return {
            "name": services.settings.name,
            "description": services.settings.description,
            "version": version("segloop"),
            "labels": labels,
            "models": {card.name: _model(card, labels) for card in cards},
            "trainers": {
                name: {
                    "description": card.description,
                    "labels": _numbered(card.labels),
                    "config": _config(card.options),
                }
                for name, card in services.jobs.trainers().items()
            },
            "strategies": {name: {"description": text} for name, text in services.next_case.strategies().items()},
            "scoring": {name: {"description": text} for name, text in services.jobs.scorers().items()},
            "train_stats": {name: _known(_train_stats(status)) for name, status in services.jobs.training().items()},
            "datastore": {"total": total, "completed": completed, "label_tags": services.labels.counts()},
        }

    @route(api, "POST", "/reload")
    def reload() -> dict[str, Any]:
        """Sync with the archive now, and load new weights."""
        services.sync.run()
        services.models.refresh()
        return {}

    return api


def _model(card: ModelCard, labels: list[str]) -> dict[str, Any]:
    """The labels of a model; one that segments anything is listed with all structures."""
    notes = ["" if card.ready else " Not trained yet.", f" Licence: {card.licence}." if card.licence else ""]
    return {
        "type": TYPES[card.kind],
        "labels": _numbered(_without_background(card.labels) or labels),
        "dimension": card.dimension,
        "description": card.description.rstrip(".") + "." + "".join(notes),
        "config": _config(card.options),
        "licence": card.licence,
        "version": card.version,
    }


def _numbered(names: Iterable[str]) -> dict[str, int]:
    """Label values 1..N without gaps, the only scheme that all viewers interpret in the same way.

    Protocol: docs/protocols/monailabel.md, section 5.4.
    """
    return {name: number for number, name in enumerate(names, start=1)}


def _labels_of(cards: Iterable[ModelCard]) -> list[str]:
    return [label for card in cards for label in card.labels]


def _without_background(names: Iterable[str]) -> list[str]:
    return [name for name in names if name != "background"]


def _config(options: Mapping[str, Option | tuple[str, ...]]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


def _train_stats(status: TrainingStatus) -> dict[str, Any]:
    """The progress of a training run, or its results.

    Protocol: docs/protocols/monailabel.md, sections 3.1 and 9.
    """
    job = status.job
    if not job.open and job.result:
        return dict(job.result)
    stats: dict[str, Any] = {"epoch": status.epoch, "total_epochs": status.epochs}
    if status.epoch:
        stats["train"] = status.metrics
    if status.best is not None:
        stats["best_metric"] = status.best
    if not job.open:
        # To clients, this key means that no training is running any more.
        stats["total_time"] = str(timedelta(seconds=int(status.seconds)))
    return stats


def _known(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics; unknown ones are left out, because Slicer uses every value that is present."""
    return {key: value for key, value in stats.items() if value is not None}


def weights_router(services: Services) -> APIRouter:
    api = APIRouter(tags=["models"], route_class=JsonRoute)

    @route(api, "GET", "/model/info/{model}")
    def info(model: str) -> dict[str, Any]:
        """The weights' checksum and modification time, and the results of their training."""
        status = services.jobs.training().get(model)
        told = _told(services.models.weights_info(model))
        return {**told, "train_stats": _train_stats(status)} if status is not None else told

    @route(api, "GET", "/model/{model}")
    def download(model: str) -> FileResponse:
        """The weights file."""
        file = services.models.weights_file(model)
        return FileResponse(file, media_type="application/octet-stream", filename=f"{model}{file.suffix}")

    @route(api, "PUT", "/model/{model}")
    async def upload(request: Request, model: str) -> dict[str, Any]:
        """Serve the weights in the form's `file` as a new version."""
        async with received(request, services.incoming, services.settings.labels.max_upload_bytes) as form:
            who = caller(request, form.json("params").get("client_id"))
            file = form.needed("file")
            return _told(await run_in_threadpool(services.models.import_weights, model, file.file, who))

    @route(api, "DELETE", "/model/{model}")
    def retire(request: Request, model: str) -> dict[str, Any]:
        """Roll back to the previous version. Nothing is deleted."""
        services.models.roll_back(model, caller(request, ""))
        return {}

    return api


def _told(info: WeightsInfo) -> dict[str, Any]:
    return {"checksum": f"SHA256:{info.sha256}", "modified_time": int(info.modified)}
