"""`segloop doctor`."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer

from app import plugins
from app.archives.registry import ARCHIVE_TYPES
from app.catalog import Catalog
from app.cli.packages import installed, torch_build
from app.distribution import segloop_version, shipped_configs
from app.errors import SegloopError
from app.models.device import Device
from app.models.registry import MODEL_TYPES
from app.project.open_models import open_models
from app.project.project import Project
from app.project.trainers import trainer_of
from app.settings import Settings, load


def run(config: Path | None, given: Mapping[str, Any]) -> None:
    """Print the effective settings and the result of each check. Exits with 1 if a check fails."""
    settings, sources = load(config, given)
    _show(settings, sources)
    project = Project.open(settings)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("segloop", segloop_version),
        ("configurations", lambda: str(shipped_configs())),
        ("python", platform.python_version),
        ("packages", installed),
        ("torch", torch_build),
        ("archive", project.archive.check),
        ("catalog", lambda: _catalog(project.catalog)),
        ("device", lambda: _device(settings)),
        ("models", lambda: ", ".join(open_models(project, Device("cpu")))),
        ("archive types", lambda: _plugins(ARCHIVE_TYPES.find())),
        ("model types", lambda: _plugins(MODEL_TYPES.find())),
        ("strategies", lambda: _plugins(plugins.strategies())),
        ("trainers", lambda: _trainers(project)),
    ]
    problems = 0
    for name, check in checks:
        try:
            typer.echo(f"ok       {name}: {check()}")
        except SegloopError as error:
            problems += 1
            typer.echo(f"PROBLEM  {name}: {error}")
    project.close()
    raise typer.Exit(1 if problems else 0)


def _show(settings: Settings, sources: Mapping[str, str]) -> None:
    for key, value in _flat(settings.model_dump()):
        origin = next((o for k, o in sources.items() if key == k or key.startswith(f"{k}.")), "default")
        typer.echo(f"{key} = {value}  ({origin})")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in tree.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [(prefix + key, value)]
    return rows


def _catalog(catalog: Catalog) -> str:
    catalog.database.check()
    return f"{catalog.cases.counts()[0]} images, {catalog.outbox.state().waiting} waiting"


def _device(settings: Settings) -> str:
    device = Device(settings.device)
    return f"{device.torch_name}, {device.precision}"


def _trainers(project: Project) -> str:
    shown = _plugins(plugins.trainers())
    for name, model in project.settings.models.items():
        if model.trainer:
            trainer_of(project, name, {})
    return shown


def _plugins(found: plugins.Plugins[object]) -> str:
    if found.broken:
        raise SegloopError("; ".join(f"{one.name} is broken: {one.reason}" for one in found.broken))
    return ", ".join(found.found)
