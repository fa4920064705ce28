"""`python -m tests.recording --against COMMIT`: record the commit and this tree, and compare."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
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
    accepted, left = Accepted.read(REWORDED), 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segloop-replay-")))
        trees = (stack.enter_context(checkout(given.against)), Tree("this tree", HERE))
        studies, scripts = Studies(), given.script or list(SCRIPTS)
        studies.make()
        for tree in trees:
            tree.check()
        for kind in kinds:
            old, new = _recorded(trees, partial(record, kind=kind, studies=studies, scripts=scripts), folder / kind)
            if given.keep:
                _keep(given.keep, kind, old, new)
            left += _report(kind, old, new, accepted)
    return 1 if left else 0


def _recorded(trees: Sequence[Tree], record_one: Callable[..., list[Noted]], folder: Path) -> list[list[Noted]]:
    """Both at once: much of the time is waiting for jobs and deliveries."""
    with ThreadPoolExecutor(len(trees)) as pool:
        places = [folder / str(number) for number in range(len(trees))]
        return list(pool.map(lambda tree, place: record_one(tree, folder=place), trees, places))


def _report(kind: str, old: Sequence[Noted], new: Sequence[Noted], accepted: Accepted) -> int:
    """Print what differs and isn't accepted; returns how much that is."""
    found = list(differences(old, new))
    left = [one for one in found if not accepted.takes(one)]
    for one in left:
        print(one)
    wire = sum(one.kind == "wire" for one in left)
    print(
        f"{kind}: {len(old)} requests, {len(found)} differences: {len(found) - len(left)} accepted, {wire} in the wire,"
    )
    print(f"  {len(left) - wire} in wording or additions that {REWORDED.name} doesn't list", flush=True)
    return len(left)


def _keep(folder: Path, kind: str, old: Sequence[Noted], new: Sequence[Noted]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, noted in (("old", old), ("new", new)):
        (folder / f"{kind}-{name}.json").write_text(json.dumps([vars(one) for one in noted], indent=1))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.recording", description=__doc__)
    parser.add_argument("--against", required=True, metavar="COMMIT", help="the commit to compare with")
    parser.add_argument("--archive", action="append", choices=KINDS, help="only over this; may be repeated")
    parser.add_argument("--script", action="append", choices=tuple(SCRIPTS), help="only this one; may be repeated")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write both recordings there, as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
