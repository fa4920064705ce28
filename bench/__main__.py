"""`python -m bench [names…] [--quick] [--repeats N]`: run benchmarks one by one and show what came out."""

from __future__ import annotations

import argparse
import importlib
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.data import Plan
from bench.report import Row, failure, show, write

NAMES = (
    "fetch",
    "again",
    "dicomweb",
    "click",
    "gone",
    "nninteractive",
    "itksnap",
    "itkit",
    "seg",
    "submit",
    "first_next",
    "next_10000",
    "info",
    "ohif",
)
ASKED_FOR = ("gpu",)
"""Run only where they are named, and written to a page of their own."""
SHAPE = (300, 512, 512)
QUICK_SHAPE = (24, 96, 96)
RESULTS = Path(__file__).parent / "RESULTS.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 if every benchmark came to its end, 1 if one failed. A missed target is a result, not a failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the server.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; all of these if none is named; or gpu"
    )
    parser.add_argument("--quick", action="store_true", help="small images, few repeats: to see that it runs")
    parser.add_argument("--repeats", type=int, metavar="N", help="how often each thing is timed")
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.names) - {*NAMES, *ASKED_FOR})
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join([*NAMES, *ASKED_FOR])}")
    if given.repeats is not None and given.repeats < 1:
        parser.error("--repeats is at least 1")
    console = Console(width=None if Console().is_terminal else 200)
    shape = QUICK_SHAPE if given.quick else SHAPE
    chosen = [known for known in (*NAMES, *ASKED_FOR) if known in given.names] or list(NAMES)
    rows: list[Row] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="segloop-bench-") as folder:
        plan = Plan(shape, Path(folder), given.quick, given.repeats)
        for name in chosen:
            console.print(f"{name} …", style="dim")
            try:
                rows += importlib.import_module(f"bench.{name}").run(plan)
            except Exception as error:  # the others shall still run
                console.print(traceback.format_exc(), markup=False)
                rows.append(failure(name, error))
                failed = True
    show(rows, console)
    if not given.quick:
        page = RESULTS.with_name("RESULTS-gpu.md") if chosen == ["gpu"] else RESULTS
        write(rows, shape, page)
        console.print(f"written to {page.name}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
