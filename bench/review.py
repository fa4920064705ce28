"""How soon the strategy `review` finds wrong labels.

`python -m bench.review [--seeds 5] [--cases 200]`: phantoms of the scenario `no-redundancy`, one in twenty with a wrong
label, of five kinds in equal shares. A model is trained on all of them, wrong ones too, and the labels are ranked by
`review`. Printed is how many of each kind are within the first tenth, where chance finds a tenth.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.ndimage import binary_dilation

from app import plugins
from app.core.label import Submission
from app.core.mask import Mask
from app.learning.review import REVIEW
from app.project.label_commit import commit_label
from app.project.project import Project
from app.services.cases import CaseService
from app.services.next_case import NextCaseService
from app.simulation.learning.cases import LabelledCase, Split
from app.simulation.learning.phantoms import pool_of
from app.simulation.learning.replay import MODEL, open_project, score_cases, train_once
from app.simulation.learning.scenarios import SMALL, Phantoms

Areas = dict[str, NDArray[np.bool_]]
"""The voxels `(k, j, i)` of each structure of a label."""

WRONG_SHARE = 0.05
FIRST_SHARE = 0.1


def missing(areas: Areas, rng: np.random.Generator) -> None:
    """One structure is marked as absent."""
    areas[_large(areas, rng, 1)[0]][:] = False


def swapped(areas: Areas, rng: np.random.Generator) -> None:
    """Two structures have each other's names."""
    one, other = _large(areas, rng, 2)
    areas[one], areas[other] = areas[other], areas[one]


def shifted(areas: Areas, rng: np.random.Generator) -> None:
    """All structures lie four voxels further along one axis."""
    axis = int(rng.integers(1, 3))
    for name, area in areas.items():
        areas[name] = np.roll(area, 4, axis)


def slices_left_out(areas: Areas, rng: np.random.Generator) -> None:
    """One structure lacks every second slice."""
    areas[_large(areas, rng, 1)[0]][::2] = False


def grown(areas: Areas, rng: np.random.Generator) -> None:
    """One structure reaches two voxels too far in its slices."""
    name = _large(areas, rng, 1)[0]
    plane = np.zeros((3, 3, 3), bool)
    plane[1] = True
    areas[name] = binary_dilation(areas[name], plane, iterations=2)


KINDS: Mapping[str, Callable[[Areas, np.random.Generator], None]] = {
    one.__name__: one for one in (missing, swapped, shifted, slices_left_out, grown)
}
GROSS = ("missing", "swapped", "shifted")


def _large(areas: Areas, rng: np.random.Generator, count: int) -> list[str]:
    """The names of some structures that the case has; not the lesion, which few have."""
    names = [name for name, area in areas.items() if area.any() and name != "lesion"]
    return [names[index] for index in rng.permutation(len(names))[:count]]


def spoilt(one: LabelledCase, kind: str, rng: np.random.Generator) -> Mask:
    """A case's label with an error of a kind."""
    areas = {segment.name: one.mask.voxels_of(segment.number).copy() for segment in one.mask.segments}
    KINDS[kind](areas, rng)
    labelmap = np.zeros(one.mask.geometry.shape, np.uint8)
    for number, area in enumerate(areas.values(), start=1):
        labelmap[area] = number
    return Mask.single(labelmap, list(areas), one.mask.geometry)


def found_first(project: Project, pool: list[LabelledCase], seed: int) -> tuple[Counter[str], Counter[str]]:
    """How many wrong labels of each kind there are, and how many of them the first tenth has."""
    rng = np.random.default_rng(seed)
    wrong = [pool[index].id for index in rng.permutation(len(pool))[: round(WRONG_SHARE * len(pool))]]
    kinds = {case_id: list(KINDS)[place % len(KINDS)] for place, case_id in enumerate(wrong)}
    for one in pool:
        mask = spoilt(one, kinds[one.id], rng) if one.id in kinds else one.mask
        commit_label(project, project.catalog.cases.get(one.id), mask, Submission("annotator", "bench"), mask.sha256)
    for number in range(2):
        train_once(project, SMALL, seed, number)
    score_cases(project, [REVIEW])
    desk = NextCaseService(project, CaseService(project), plugins.strategies().found, [MODEL])
    first = [pick.case_id for pick in desk.preview(REVIEW, {})][: round(FIRST_SHARE * len(pool))]
    return Counter(kinds.values()), Counter(kinds[case_id] for case_id in first if case_id in kinds)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cases", type=int, default=200)
    arguments = parser.parse_args()
    wrong: Counter[str] = Counter()
    early: Counter[str] = Counter()
    for seed in range(arguments.seeds):
        pool = pool_of(Phantoms(patients=arguments.cases, cases=arguments.cases), 500 + seed)
        structures = list(dict.fromkeys(segment.name for one in pool for segment in one.mask.segments))
        with tempfile.TemporaryDirectory() as folder:
            project = open_project(SMALL, Split(pool, []), Path(folder))
            try:
                there, found = found_first(project, pool, seed)
            finally:
                project.close()
        wrong += there
        early += found
        print(f"seed {seed}: {dict(found)} of {dict(there)}; structures {', '.join(structures)}", flush=True)
    table = Table("kind", "wrong labels", "in the first tenth")
    for kind in KINDS:
        table.add_row(kind.replace("_", " "), str(wrong[kind]), str(early[kind]))
    gross = sum(early[kind] for kind in GROSS) / max(1, sum(wrong[kind] for kind in GROSS))
    table.add_row("missing, swapped, shifted", "", f"{gross:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()
