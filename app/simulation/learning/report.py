"""Simulated learning as a Markdown table and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from app.errors import ConfigurationError
from app.simulation.learning.replay import Round
from app.simulation.learning.scenarios import Scenario
from app.simulation.learning.statistics import Curves, Difference, area_under, compared

BASELINE = "patient_random"
"""What strategies are compared with in the first table, if it was run: random, but a new patient each time."""

HEADS = (
    "strategy",
    "seeds",
    "area, sd",
    "minus {}",
    "final Dice",
    "minus {}",
    "patients",
    "contour voxels",
    "selection CPU s",
    "shared rounds",
)


def markdown(scenario: Scenario, curves: Curves) -> str:
    """Three tables: every strategy beside the baseline, every pair of strategies, every run."""
    baseline = BASELINE if BASELINE in curves else next(iter(curves))
    tables = [
        _table([head.format(baseline) for head in HEADS], (_strategy(curves, name, baseline) for name in curves)),
        _table(
            ["one minus other", "area", "wins", "verdict", "final Dice"],
            (_pair(curves, one, other) for one, other in _pairs(curves)),
        ),
        _table(
            ["strategy", "seed", "Dice after each training", "area"],
            (
                [name, str(seed), " ".join(f"{one.dice:.3f}" for one in run), f"{area_under(run):.3f}"]
                for name, runs in curves.items()
                for seed, run in runs.items()
            ),
        ),
    ]
    lines = [
        f"# Scenario {scenario.name}",
        "",
        f"{scenario.description}. Area: mean Dice over the numbers of labels. Differences are paired by seed, with 95 %"
        " bootstrap intervals.",
    ]
    for table in tables:
        lines += ["", *table] if table else []
    return "\n".join(lines) + "\n"


def draw(scenario: Scenario, curves: Curves, file: Path) -> None:
    """Dice over labels: each run thin, the mean over the seeds thick. Raises `ConfigurationError` without
    matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigurationError("pictures need matplotlib: pip install 'segloop[demo]'") from error
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, runs) in enumerate(curves.items()):
        color = f"C{number}"
        for run in runs.values():
            axes.plot([one.labels for one in run], [one.dice for one in run], color=color, alpha=0.2, linewidth=1)
        shortest = min(map(len, runs.values()))
        labels = np.mean([[one.labels for one in run[:shortest]] for run in runs.values()], axis=0)
        dices = np.mean([[one.dice for one in run[:shortest]] for run in runs.values()], axis=0)
        axes.plot(labels, dices, color=color, linewidth=2.5, label=f"{name}, seeds: {len(runs)}")
        axes.set_xticks([one.labels for one in max(runs.values(), key=len)])
    axes.set(title=scenario.name, xlabel="labelled cases", ylabel="mean Dice on test cases")
    axes.legend(loc="lower right")
    figure.savefig(file, dpi=150)


def _pairs(curves: Curves) -> list[tuple[str, str]]:
    """The pairs of strategies that were run with a common seed, the later one first."""
    return [(one, other) for other, one in combinations(curves, 2) if curves[one].keys() & curves[other].keys()]


def _pair(curves: Curves, one: str, other: str) -> list[str]:
    area, final = compared(curves, one, other)
    return [f"{one} - {other}", _shown(area), f"{area.wins}/{area.seeds}", area.verdict, _shown(final)]


def _strategy(curves: Curves, name: str, baseline: str) -> list[str]:
    runs = list(curves[name].values())
    areas = [area_under(run) for run in runs]
    spread = float(np.std(areas, ddof=1)) if len(areas) > 1 else 0.0
    area = final = "-"
    if name != baseline and curves[name].keys() & curves[baseline].keys():
        area, final = (_shown(one) for one in compared(curves, name, baseline))
    shared = sum(one.shared for run in runs for one in run)
    return [
        name,
        str(len(runs)),
        f"{np.mean(areas):.3f}, {spread:.3f}",
        area,
        f"{_mean(runs, 'dice'):.3f}",
        final,
        f"{_mean(runs, 'patients'):.1f}",
        f"{_mean(runs, 'effort'):.0f}",
        f"{np.mean([sum(one.selection_seconds for one in run) for run in runs]):.1f}",
        f"{shared} of {sum(len(run) - 1 for run in runs)}",
    ]


def _mean(runs: Sequence[Sequence[Round]], field: str) -> float:
    """The mean of a field of the runs' last rounds."""
    return float(np.mean([getattr(run[-1], field) for run in runs]))


def _shown(one: Difference) -> str:
    interval = f" [{one.low:+.3f}, {one.high:+.3f}]" if one.seeds > 1 else ""
    return f"{one.mean:+.3f}{interval}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; none without rows."""
    lines = [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]
    return lines if len(lines) > 2 else []
