"""`segloop simulate learning`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.markdown import Markdown

from app import plugins
from app.errors import BadOption, UnknownStrategy
from app.settings import Settings
from app.simulation.learning.cases import Files, Labelled, Source
from app.simulation.learning.phantoms import PhantomSource
from app.simulation.learning.report import draw, markdown
from app.simulation.learning.runs import Run, append_csv, read_csv, simulate
from app.simulation.learning.scenarios import SCENARIOS, Scenario
from app.simulation.learning.statistics import curves_of


def scenario_named(name: str) -> Scenario:
    """Raises `BadOption` for a scenario that doesn't exist."""
    if name not in SCENARIOS:
        known = "; ".join(f"{one.name}: {one.description}" for one in SCENARIOS.values())
        raise BadOption(f"no scenario {name!r}. {known}")
    return SCENARIOS[name]


def source_of(scenario: Scenario, images: Path | None, labels: Path | None, patient: str, settings: Settings) -> Source:
    """The scenario's phantoms; else the files that are given, or the final labels of the project of the settings.

    Raises `BadOption` for files with a scenario that has phantoms.
    """
    if scenario.phantoms is not None:
        if images is not None:
            raise BadOption(f"the scenario {scenario.name} has phantoms of its own; use --scenario own-cases for files")
        return PhantomSource(scenario.phantoms)
    if images is not None:
        return Files(images, labels, patient, scenario.test_share)
    return Labelled(settings, scenario.test_share)


def seeds_of(text: str) -> list[int]:
    """`0,1,2` or `0-2`, or both mixed. Raises `BadOption`."""
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            seeds += range(int(first), int(last or first) + 1)
    except ValueError as error:
        raise BadOption(f"seeds are numbers such as 0,1,2 or 0-9, not {text!r}") from error
    return seeds


def strategies_of(text: str) -> list[str]:
    """Names separated by commas. Raises `UnknownStrategy`."""
    found = plugins.strategies().found
    names = [name.strip() for name in text.split(",")]
    if missing := [name for name in names if name not in found]:
        raise UnknownStrategy(f"no strategy {missing[0]!r}; there are: {', '.join(found)}")
    return names


def learning(scenario: Scenario, source: Source, runs: Sequence[Run], processes: int, folder: Path) -> None:
    """Simulate the runs that `folder` doesn't have yet, and write the table and the picture of all it has."""
    console = Console()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{scenario.name}.csv"
    done = {(one.strategy, one.seed) for one in read_csv(file)}
    todo = [run for run in runs if run not in done]
    for rounds in simulate(scenario, source, todo, processes) if todo else ():
        append_csv(rounds, file)
        dices = " ".join(f"{one.dice:.3f}" for one in rounds)
        console.print(f"{rounds[0].strategy}, seed {rounds[0].seed}: Dice {dices}", highlight=False)
    curves = curves_of(read_csv(file))
    text = markdown(scenario, curves)
    (folder / f"{scenario.name}.md").write_text(text)
    draw(scenario, curves, folder / f"{scenario.name}.png")
    console.print(Markdown(text))
    typer.echo(f"written: {file}, and beside it .md and .png")
