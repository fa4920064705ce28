"""What a run leaves behind: the table at the end, and a picture of a case before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from app.demo.annotator import Played
from app.demo.plan import PATIENT_PREFIX
from app.demo.rounds import Round

UNTRAINED = "untrained"


def table(rounds: Sequence[Round]) -> Table:
    """One row per case, and one after each round with the model's Dice."""
    shown = Table(title="What the annotator did", caption="Dice is against the phantoms' truth", title_justify="left")
    for header, right in (("round", True), ("case", False), ("structures", False), ("clicks", True)):
        shown.add_column(header, justify="right" if right else "left", no_wrap=True)
    shown.add_column("Dice before", justify="right", max_width=9)
    shown.add_column("after", justify="right", no_wrap=True)
    shown.add_column("why this case", ratio=1)
    for one in rounds:
        for played in one.played:
            shown.add_row(str(one.number), *(escape(text) for text in _cells(played)))
        shown.add_row("", *(escape(text) for text in _learned(one)), style="bold", end_section=True)
    return shown


def case_name(played: Played) -> str:
    """A short name: the patient's number, and the date."""
    patient = played.sample.patient.removeprefix(PATIENT_PREFIX) or played.sample.id
    date = played.sample.date
    return f"{patient}, {date[:4]}-{date[4:6]}" if len(date) == 8 else patient


def before_words(before: float | None) -> str:
    return UNTRAINED if before is None else f"{before:.2f}"


def _cells(played: Played) -> tuple[str, ...]:
    clicks = "\n".join(str(one.clicks) for one in played.structures)
    structures = "\n".join(f"{one.name} {one.dice:.2f}" for one in played.structures)
    after = f"{played.after:.2f}"
    return case_name(played), structures, clicks, before_words(played.before), after, played.sample.reason


def _learned(one: Round) -> tuple[str, ...]:
    if one.trained is None:
        return f"{one.labels} labels", "no trainer", "", "", "", ""
    reached = "" if one.held_out is None else f"{one.held_out:.2f}"
    validation = one.trained.validation
    said = "" if validation is None else f"; {validation:.2f} on its own validation patients"
    version = f"version {one.trained.version}" if one.trained.version else "no version"
    return f"{one.labels} labels", version, "", reached, "", f"= automatic, on patients the server never saw{said}"


COLORS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#D55E00")
"""The palette of Okabe and Ito, which is safe for colour blindness."""

PER_ROW = 5
_WINDOW = (-140.0, 260.0)  # HU, the usual one for the abdomen


def draw(rounds: Sequence[Round], names: Sequence[str], file: Path) -> None:
    """Write a PNG. Needs matplotlib (`pip install segloop[demo]`)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

    cases = [(one.number, played) for one in rounds for played in one.played]
    columns = min(PER_ROW, max(len(cases), 3))
    rows = -(-len(cases) // columns)
    figure: Any = Figure(figsize=(2.9 * columns, 3.3 * rows + 4.0), layout="constrained", facecolor="white")
    grid = GridSpec(rows + 1, columns, figure=figure, height_ratios=[3.3] * rows + [3.8])
    for place in range(rows * columns):
        axes = figure.add_subplot(grid[place // columns, place % columns])
        axes.set_axis_off()
        if place < len(cases):
            _case(axes, *cases[place], names)
    _curve(figure.add_subplot(grid[rows, :]), rounds)
    _legend(figure, names)
    file.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(file))


def _case(axes: Any, number: int, played: Played, names: Sequence[str]) -> None:
    """The slice with the most of all structures: the submitted label filled, the ground truth as a line."""
    shown = [played.truth.voxels_of(name) for name in names]
    areas = np.prod([truth.sum(axis=(1, 2)) + 1.0 for truth in shown], axis=0)
    k = int(areas.argmax())
    i, j, _ = played.volume.geometry.spacing
    axes.imshow(played.volume.voxels[k], cmap="gray", vmin=_WINDOW[0], vmax=_WINDOW[1], aspect=j / i)
    for name, truth, color in zip(names, shown, COLORS, strict=False):
        filled = np.ma.masked_equal(played.submitted.voxels_of(name)[k].astype(float), 0)
        axes.imshow(filled, cmap=_one_color(color), alpha=0.45, vmin=0, vmax=1, aspect=j / i)
        if truth[k].any():
            axes.contour(truth[k], levels=[0.5], colors="white", linewidths=0.9)
    clicks = f"{played.clicks} click" + ("s" if played.clicks != 1 else "")
    axes.set_title(
        f"round {number}: {case_name(played)}\nauto {before_words(played.before)}, {clicks}: {played.after:.2f}",
        fontsize=8.5,
    )


def _curve(axes: Any, rounds: Sequence[Round]) -> None:
    learned = [(one.labels, one.held_out) for one in rounds if one.held_out is not None]
    validated = [
        (one.labels, one.trained.validation) for one in rounds if one.trained and one.trained.validation is not None
    ]
    first = [0, *(one.labels for one in rounds)]
    before = [(first[n], p.before) for n, one in enumerate(rounds) for p in one.played if p.before is not None]
    after = [(first[n], p.after) for n, one in enumerate(rounds) for p in one.played]
    if learned:
        axes.plot(*zip(*learned, strict=True), "o-", color=COLORS[5], lw=2, label="automatic, patients never seen")
    if validated:
        axes.plot(*zip(*validated, strict=True), "s--", color="0.45", lw=1, label="automatic, validation patients")
    if before:
        axes.plot(*zip(*before, strict=True), "x", color=COLORS[0], ms=8, mew=2, label="automatic, next cases")
    if after:
        axes.plot(*zip(*after, strict=True), ".", color=COLORS[2], ms=9, label="submitted after clicking")
    axes.set(xlabel="labels the server has learned from", ylabel="mean Dice", ylim=(0, 1.02))
    axes.set_xticks(sorted(set(first)))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if not learned and not validated:
        axes.text(0.5, 0.5, "no model was trained", transform=axes.transAxes, ha="center", color="0.5")
    axes.legend(loc="lower right", fontsize=9)


def _legend(figure: Any, names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=color, alpha=0.6, label=name) for name, color in zip(names, COLORS, strict=False)]
    truth = Line2D([], [], color="white", label="truth", markeredgecolor="black")
    figure.legend(handles=[*handles, truth], loc="outside upper center", ncols=len(handles) + 1, facecolor="0.75")


def _one_color(color: str) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap([color])
