"""The picture at the end: every case with what was submitted and what was true, and what the model learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.demo.annotator import Played
from app.demo.report import before_words, case_name
from app.demo.rounds import Round

COLORS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#D55E00")
"""Okabe and Ito's, which people with any colour vision can tell apart."""

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
    """The slice that shows most of everything; filled is what was submitted, the line is the truth."""
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
