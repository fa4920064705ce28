"""What a benchmark found out, as a table to look at and as a page to keep."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import Timing

LIBRARIES = (
    "numpy",
    "torch",
    "onnxruntime",
    "pydicom",
    "highdicom",
    "SimpleITK",
    "nibabel",
    "dicomweb-client",
    "nnInteractive",
)
COLUMNS = ("benchmark", "what", "median", "min to max", "n", "compared with", "result", "target", "met")


@dataclass(frozen=True)
class Row:
    """One figure. `against` is what it was compared with in the same run, and what that took. `met` is None where
    there is no target."""

    bench: str
    what: str
    median: str
    spread: str
    count: int
    against: str
    result: str
    target: str
    met: bool | None

    @property
    def cells(self) -> tuple[str, ...]:
        met = {True: "yes", False: "NO", None: ""}[self.met]
        count = str(self.count) if self.count else ""
        return (self.bench, self.what, self.median, self.spread, count, self.against, self.result, self.target, met)


def ratio(bench: str, what: str, ours: Timing, peer: str, theirs: Timing, most: float | None) -> Row:
    """How many times as long as `peer` it takes; `most` is the target, if there is one."""
    value = ours.median / theirs.median
    target = "" if most is None else f"at most {most:g} x"
    met = None if most is None else value <= most
    return _row(bench, what, ours, _against(peer, theirs), f"{value:.2f} x", target, met)


def speedup(bench: str, what: str, ours: Timing, peer: str, theirs: Timing, least: float) -> Row:
    """How many times as fast as `peer` it is; `least` is the target."""
    value = theirs.median / ours.median
    text = f"{value:.1f} x as fast"
    return _row(bench, what, ours, _against(peer, theirs), text, f"at least {least:g} x", value >= least)


def added(
    bench: str, what: str, ours: Timing, peer: str, theirs: Timing, most: float | None, *, paired: bool = True
) -> Row:
    """What it takes beyond `peer`: the difference of the medians, and, for times taken in pairs, the median difference
    within a pair, which is what counts towards the target of `most` seconds."""
    between = ours.median - theirs.median
    value, text = between, f"{_signed(between)} between medians"
    if paired:
        pairs = Timing(tuple(a - b for a, b in zip(ours.seconds, theirs.seconds, strict=True)))
        value = pairs.median
        text = f"{_signed(value)} in pairs ({_signed(pairs.low)} to {_signed(pairs.high)}); {text}"
    target = "" if most is None else f"at most +{seconds(most)}"
    return _row(bench, what, ours, _against(peer, theirs), text, target, None if most is None else value <= most)


def at_most(bench: str, what: str, ours: Timing, most: float, note: str = "", met: bool = True) -> Row:
    """Its median against a target in seconds. `met` is what else has to be true."""
    return _row(bench, what, ours, note, "", f"at most {seconds(most)}", met and ours.median <= most)


def memory(bench: str, what: str, ours: int, peer: str, theirs: int, most: int | None) -> Row:
    """Peak memory in bytes."""
    target, met = ("", None) if most is None else (f"at most {_megabytes(most)}", ours <= most)
    result = f"{ours / theirs:.2f} x"
    return Row(bench, what, _megabytes(ours), "", 1, f"{peer}: {_megabytes(theirs)}", result, target, met)


def failure(bench: str, error: BaseException) -> Row:
    """A benchmark that didn't come to its end."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
    return Row(bench, f"failed: {text}", "", "", 0, "", "", "", False)


def show(rows: Sequence[Row], console: Console) -> None:
    table = Table(show_lines=True)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for row in rows:
        style = {True: "green", False: "red", None: ""}[row.met]
        table.add_row(*row.cells[:-1], f"[{style}]{row.cells[-1]}[/]" if style else "")
    console.print(table)


def write(rows: Sequence[Row], shape: tuple[int, int, int], file: Path) -> None:
    """The same as Markdown, with what it was measured on."""
    lines = [
        "# Results",
        "",
        f"Written by `python -m bench` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. {machine()}",
        "",
        f"Images are {shape[2]} x {shape[1]} x {shape[0]} voxels. Everything that is compared was measured in the same"
        " run, in turns; a figure is the median of n. What each benchmark does is told at the top of its file.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "| " + " | ".join("---" for _ in COLUMNS) + " |",
        *("| " + " | ".join(cell.replace("|", "/") for cell in row.cells) + " |" for row in rows),
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def machine() -> str:
    """Cores, processor, memory and versions; nothing that says whose machine it is."""
    information = Path("/proc/cpuinfo").read_text()
    model = next((x.split(":", 1)[1].strip() for x in information.splitlines() if x.startswith("model name")), "")
    cores = len(os.sched_getaffinity(0))
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"Machine: {cores} cores, {model or platform.machine()}, {gibibytes:.0f} GiB of memory; Linux"
        f" {platform.release()}, Python {platform.python_version()}, {versions}."
    )


def seconds(value: float) -> str:
    return f"{value:.2f} s" if abs(value) >= 1 else f"{value * 1000:.3g} ms"


def _row(bench: str, what: str, ours: Timing, against: str, result: str, target: str, met: bool | None) -> Row:
    spread = f"{seconds(ours.low)} to {seconds(ours.high)}"
    return Row(bench, what, seconds(ours.median), spread, len(ours.seconds), against, result, target, met)


def _against(peer: str, theirs: Timing) -> str:
    return f"{peer}: {seconds(theirs.median)} ({seconds(theirs.low)} to {seconds(theirs.high)})"


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "-") + seconds(abs(value))


def _megabytes(value: int) -> str:
    return f"{value / 1e6:.0f} MB"
