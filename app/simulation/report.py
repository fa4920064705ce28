"""Simulated clicks as a CSV file, a table and a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from rich.table import Table

from app.errors import ConfigurationError
from app.simulation.run import Step
from app.simulation.summary import GOOD, Summary, curves_of

SHOWN = (0, 1, 3, 5, 10)
"""After how many clicks the table shows a column, beside the last."""


def write_csv(steps: Sequence[Step], file: Path) -> None:
    """A row for each prompt."""
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Step)])
        writer.writeheader()
        writer.writerows(asdict(step) for step in steps)


def table_of(steps: Sequence[Step], summary: Summary) -> Table:
    """Dice of each structure after some numbers of clicks, and the means."""
    numbers = [n for n in summary.dice if n in SHOWN or n == max(summary.dice)]
    heads = ["box" if n == 0 else f"{n} click{'s' * (n > 1)}" for n in numbers]
    table = Table("image", "structure", *heads, title="Dice")
    for (case, structure), curve in curves_of(steps).items():
        table.add_row(case, str(structure), *(f"{curve[n].dice:.3f}" for n in numbers))
    table.add_section()
    rows = {"mean Dice": summary.dice, "mean surface Dice": summary.surface_dice, f"reached {GOOD}": summary.reached}
    for name, values in rows.items():
        table.add_row(name, f"{summary.structures} structures", *(f"{values[n]:.3f}" for n in numbers))
    return table


def lines_of(summary: Summary) -> list[str]:
    """The rest, in words."""
    seconds = summary.seconds
    return [
        f"Area under the last five clicks (at most 4): Dice {summary.dice_area:.3f}, surface Dice"
        f" {summary.surface_area:.3f}; final Dice {summary.final_dice:.3f}, surface Dice {summary.final_surface:.3f}",
        f"Seconds for a prompt: median {seconds.median:.2f}, 95th percentile {seconds.p95:.2f}, longest"
        f" {seconds.longest:.2f}",
        f"Prompts that were not answered: {summary.errors}",
    ]


def draw(steps: Sequence[Step], summary: Summary, file: Path) -> None:
    """Dice over clicks: each structure thin, the mean thick. Raises `ConfigurationError` without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigurationError("pictures need matplotlib: pip install 'segloop[demo]'") from error
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    numbers = sorted(summary.dice)
    for curve in curves_of(steps).values():
        axes.plot(numbers, [curve[n].dice for n in numbers], color="tab:blue", alpha=0.25, linewidth=1)
    axes.plot(numbers, [summary.dice[n] for n in numbers], color="tab:blue", linewidth=2.5, label="Dice")
    axes.plot(
        numbers, [summary.surface_dice[n] for n in numbers], color="tab:orange", linewidth=2.5, label="surface Dice"
    )
    axes.axhline(GOOD, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlabel="clicks", ylabel="score", ylim=(0, 1), xticks=numbers)
    axes.legend(loc="lower right")
    figure.savefig(file, dpi=150)
