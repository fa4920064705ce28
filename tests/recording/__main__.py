"""`python -m tests.recording --against COMMIT`: record the commit and this tree, and compare."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.orthanc import missing
from tests.recording.compare import Accepted, Noted, differences
from tests.recording.record import KINDS, SCRIPTS, record
from tests.recording.server import HERE, Tree, checkout
from tests.recording.studies import Studies

REWORDED = Path(__file__).with_name("reworded.toml")


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if nothing differs but what is accepted, 1 if something does."""
    given = _parsed(arguments)
    kinds = [kind for kind in given.archive or KINDS if kind != "orthanc" or not missing()]
    if missing() and "orthanc" in (given.archive or KINDS):
        print(f"skipped: everything over Orthanc ({missing()})")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segloop-replay-")))
        old, new = stack.enter_context(checkout(given.against)), Tree("this tree", HERE)
        studies = Studies()
        scripts = given.script or list(SCRIPTS)

        def recorded(tree: Tree, place: Path) -> list[Noted]:
            tree.check()
            noted: list[Noted] = []
            for kind in kinds:
                noted += record(tree, kind, place / kind, studies, scripts)
                print(f"{tree.name}: {len(noted)} requests, {kind} is done", flush=True)
            return noted

        # Much of the time is waiting for jobs and deliveries, so both at once.
        with ThreadPoolExecutor(2) as pool:
            before = pool.submit(recorded, old, folder / "old")
            after = pool.submit(recorded, new, folder / "new")
            pair = before.result(), after.result()
    if given.keep:
        _keep(given.keep, pair)
    return _report(*pair, Accepted.read(REWORDED))


def _report(old: Sequence[Noted], new: Sequence[Noted], accepted: Accepted) -> int:
    found = list(differences(old, new))
    left = [one for one in found if not accepted.takes(one)]
    for one in left:
        print(one)
    wire = sum(one.kind == "wire" for one in left)
    print(
        f"{len(old)} requests, {len(found)} differences: {len(found) - len(left)} accepted, {wire} in the wire", end=""
    )
    print(f", {len(left) - wire} in wording or additions that {REWORDED.name} doesn't list")
    return 1 if left else 0


def _keep(folder: Path, recorded: Sequence[Sequence[Noted]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, noted in zip(("old", "new"), recorded, strict=True):
        (folder / f"{name}.json").write_text(json.dumps([vars(one) for one in noted], indent=1))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.recording", description=__doc__)
    parser.add_argument("--against", required=True, metavar="COMMIT", help="the commit to compare with")
    parser.add_argument("--archive", action="append", choices=KINDS, help="only over this; may be repeated")
    parser.add_argument("--script", action="append", choices=tuple(SCRIPTS), help="only this one; may be repeated")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write both recordings there, as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
