"""`segloop models ...`."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from app.archives.memory import MemoryArchive
from app.models.device import Device
from app.project.open_models import open_models
from app.project.project import Project
from app.services.models import ModelService
from app.settings import Settings

OPERATOR = "operator"
"""The user in the audit trail for changes by the command line."""


def show(settings: Settings) -> None:
    """Every model with its licence and versions."""
    service = _model_service(settings)
    table = Table("model", "what it does", "version", "licence", "ready")
    for card in service.cards():
        table.add_row(card.name, card.description, card.version, card.licence, "yes" if card.ready else "not trained")
    console = Console()
    console.print(table)
    versions = service.versions()
    if versions:
        history = Table("version", "state", "served", "Dice", "why")
        for version in versions:
            dice = version.metrics.get("best_metric")  # absent without validation cases
            served = "served" if service.version_served(version.model) == version.id else ""
            shown = f"{dice:.3f}" if dice is not None else ""
            history.add_row(version.id, version.state, served, shown, version.reason)
        console.print(history)


def bring(settings: Settings, name: str, file: Path, trusted: bool) -> None:
    """Import a MONAI Label model file."""
    info = _model_service(settings).import_weights(name, file, OPERATOR, trusted)
    typer.echo(f"{name} now serves the weights of {file} (sha256 {info.sha256})")


def roll_back(settings: Settings, name: str) -> None:
    version = _model_service(settings).roll_back(name, OPERATOR)
    typer.echo(f"{name} serves {version.id} again; a running server follows within seconds")


def serve_version(settings: Settings, version_id: str) -> None:
    version = _model_service(settings).serve(version_id, OPERATOR)
    typer.echo(f"{version.model} serves {version.id}; a running server follows within seconds")


def _model_service(settings: Settings) -> ModelService:
    project = Project.open(settings, MemoryArchive())  # models need no studies
    device = Device("cpu")
    return ModelService(project, open_models(project, device), device)
