"""`segloop simulate ...`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import typer
from rich.console import Console

from app.archives.memory import MemoryArchive
from app.core.robot import Plane, Robot, Style
from app.errors import BadInput, BadOption
from app.models.device import Device
from app.project.open_models import open_models
from app.project.project import Project
from app.services.models import ModelService
from app.settings import Settings
from app.simulation.cases import read_cases
from app.simulation.prompted import ModelTarget, ServerTarget, Target
from app.simulation.report import draw, lines_of, table_of, write_csv
from app.simulation.run import Protocol, Step, simulate
from app.simulation.summary import summarise


@dataclass(frozen=True)
class Outputs:
    """Files to write, where wanted."""

    csv: Path | None = None
    picture: Path | None = None


def user(style: str, plane: str, noise: int, seed: int) -> Robot:
    """Raises `BadOption` for a style or plane that doesn't exist."""
    if style not in get_args(Style) or plane not in get_args(Plane):
        styles, planes = ", ".join(get_args(Style)), ", ".join(get_args(Plane))
        raise BadOption(f"a style is one of {styles}; a plane one of {planes}")
    return Robot(cast(Style, style), cast(Plane, plane), noise, seed)


def _in_process(settings: Settings, name: str) -> Iterator[Target]:
    """A model of the settings, in this process; the first interactive one if `name` is empty."""
    device = Device(settings.device, threads=settings.threads or None)
    try:
        project = Project.open(settings, MemoryArchive())
        service = ModelService(project, open_models(project, device), device)
        yield ModelTarget(service.interactive(name or service.default_interactive()), device)
    finally:
        device.shutdown()


@contextmanager
def target_of(settings: Settings, model: str, server: str, token: str) -> Iterator[Target]:
    """The server at an address, or a model in this process."""
    if server:
        yield ServerTarget(server, token)
    else:
        yield from _in_process(settings, model)


def clicks(
    target: Target, places: tuple[Path, Path | None], robot: Robot, protocol: Protocol, outputs: Outputs
) -> None:
    """Simulate, show and write. Raises `BadInput` if there is nothing to simulate."""
    console = Console()
    steps: list[Step] = []
    try:
        for step in simulate(read_cases(*places), target, robot, protocol):
            steps.append(step)
            if step.number == protocol.clicks:
                console.print(f"{step.case}, structure {step.structure}: Dice {step.dice:.3f}", highlight=False)
    finally:
        if outputs.csv is not None:  # what is there when it is interrupted, too
            write_csv(steps, outputs.csv)
    if not steps:
        raise BadInput(f"no structure has {protocol.min_voxels} voxels or more")
    summary = summarise(steps)
    if outputs.picture is not None:
        draw(steps, summary, outputs.picture)
    console.print(table_of(steps, summary))
    for line in lines_of(summary):
        console.print(line, highlight=False)
    for error in sorted({step.error for step in steps if step.error}):
        typer.echo(f"segloop: {error}", err=True)
