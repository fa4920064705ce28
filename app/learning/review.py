"""The review job: how much stored labels differ from what the model finds, so that people look at wrong labels first.

Labels are compared structure by structure, and each structure with itself in all other labels: a lesion at 0.4 Dice may
be as good as lesions get, and a liver at 0.7 is not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from app.core.mask import Mask, dice
from app.core.model import AutomaticModel
from app.errors import ArchiveUnavailable, Cancelled, SegloopError
from app.learning.control import Control
from app.learning.dataset import Labelled, labelled_cases
from app.learning.uncertainty import where_to_look
from app.project.project import Project

logger = logging.getLogger(__name__)

REVIEW = "review"
"""The scorer. Its value is by how many times the usual spread a structure of the label agrees less with the model than
that structure does elsewhere; of all structures the one that stands out most."""

USUALLY = 0.8
"""A structure that this share of the labels has is missed where it is neither segmented nor marked as absent."""
LEAST_SHARE = 0.25
"""... if the model finds at least this share of its usual size there."""
LEAST_SPREAD = 0.05
"""The smallest spread of Dice that is told apart, so that a structure with nearly equal values has no outliers."""
SLICES = 5


@dataclass(frozen=True)
class Agreement:
    """What the model and a label say of one structure. `dice` is None if neither has it; `voxels` are the model's,
    `labelled` whether the label has it or says that it is absent; `slices` are those that differ most, worst first."""

    dice: float | None
    voxels: int
    labelled: bool
    slices: tuple[int, ...]


def agreements(found: Mask, truth: Mask, examined: Container[str], names: Sequence[str]) -> dict[str, Agreement]:
    """The model's mask against a label on the same voxels, in which some structures were examined; for each of the
    structures `names`."""
    nowhere = np.zeros(truth.geometry.shape, bool)
    ours = {segment.name: segment.number for segment in found.segments}
    theirs = {segment.name: segment.number for segment in truth.segments}
    answer = {}
    for name in names:
        model = found.voxels_of(ours[name]) if name in ours else nowhere
        drawn = truth.voxels_of(theirs[name]) if name in theirs else nowhere
        by_slice = (model != drawn).sum(axis=(1, 2))
        worst = [int(k) for k in np.argsort(-by_slice, kind="stable")[:SLICES] if by_slice[k]]
        answer[name] = Agreement(dice(model, drawn), int(model.sum()), name in examined, tuple(worst))
    return answer


@dataclass(frozen=True)
class Doubt:
    """How much a label stands out, in which structure, and why in words that a reviewer reads."""

    value: float
    structure: str
    slices: tuple[int, ...]
    why: str


def doubts(cases: Mapping[str, Mapping[str, Agreement]]) -> dict[str, Doubt]:
    """How much each label stands out among all of them, by case id; `cases` are agreements by case and structure."""
    names = {name for one in cases.values() for name in one}
    usual = {name: _Usual.of([one[name] for one in cases.values() if name in one]) for name in names}
    answer = {}
    for case_id, found in cases.items():
        each = [usual[name].doubt(name, agreement) for name, agreement in found.items()]
        answer[case_id] = max(each, key=lambda one: one.value, default=Doubt(0.0, "", (), "nothing to compare"))
    return answer


@dataclass(frozen=True)
class _Usual:
    """The median Dice of a structure over the labels that have it, its spread (1.48 times the median absolute
    deviation, which is the standard deviation of normal values), its usual size in voxels, and how many labels have
    it."""

    dice: float
    spread: float
    voxels: float
    share: float

    @staticmethod
    def of(found: Sequence[Agreement]) -> _Usual:
        values = [one.dice for one in found if one.labelled and one.dice is not None]
        middle = float(np.median(values)) if values else 0.0
        spread = 1.48 * float(np.median([abs(value - middle) for value in values])) if values else 0.0
        sizes = [one.voxels for one in found if one.labelled]
        share = sum(one.labelled for one in found) / max(1, len(found))
        return _Usual(middle, max(spread, LEAST_SPREAD), float(np.median(sizes)) if sizes else 0.0, share)

    def doubt(self, name: str, one: Agreement) -> Doubt:
        missed = not one.labelled
        if one.dice is None:
            return Doubt(0.0, name, (), f"neither label nor model has {name}")
        if missed and (self.share < USUALLY or one.voxels < LEAST_SHARE * self.voxels):
            return Doubt(0.0, name, (), f"{name} was not examined")
        value = (self.dice - one.dice) / self.spread
        what = (
            f"the model finds {name}, which the label doesn't speak of"
            if missed
            else f"label and model differ most in {name}: Dice {one.dice:.2f}, usually {self.dice:.2f}"
        )
        return Doubt(value, name, one.slices, f"{what}; look at {where_to_look(one.slices)}")


def unreviewed(project: Project, model: str, version: str) -> list[Labelled]:
    """The labelled cases whose newest final label `version` of a model hasn't been compared with."""
    known = project.catalog.scores.details(f"{REVIEW}:{model}")
    compared = {case_id: (one.model_version, one.detail.get("label")) for case_id, one in known.items()}
    return [one for one in labelled_cases(project) if compared.get(one.row.case.id) != (version, one.label.id)]


def review(
    project: Project, model: AutomaticModel, version: str, failed: Container[str], control: Control
) -> Mapping[str, Any]:
    """Compare labels with what `version` of a model finds, within the budget of a scoring job, those that `failed`
    last. At the end all labels that it was compared with are weighed against each other."""
    name, learning = model.card.name, project.settings.learning
    todo = sorted(unreviewed(project, name, version), key=lambda one: one.row.case.id in failed)
    budget, done, broken = todo[: learning.score_cases], 0, []
    until = time.monotonic() + learning.score_seconds
    for count, one in enumerate(budget):
        control.pause()
        control.progress(count / len(budget))
        if time.monotonic() - control.waited > until:
            break
        try:
            _compare(project, model, version, one, control)
            done += 1
        except (Cancelled, ArchiveUnavailable):
            raise
        except SegloopError as error:
            logger.warning("the label of case %s can't be reviewed: %s", one.row.case.id, error)
            broken.append(one.row.case.id)
    _weigh(project, name, version)
    return {"scored": done, "left": len(todo) - done, "version": version, "failed": broken}


def _compare(project: Project, model: AutomaticModel, version: str, one: Labelled, control: Control) -> None:
    start = time.monotonic()
    volume, truth = one.open(project)
    found = model.segment(volume, lambda done, text="": control.pause(), {})
    compared = agreements(found, truth, one.label.examined, model.card.labels)
    detail = {"label": one.label.id, "agreements": {name: asdict(each) for name, each in compared.items()}}
    scorer = f"{REVIEW}:{model.card.name}"
    project.catalog.scores.put(one.row.case.id, scorer, version, 0.0, time.monotonic() - start, detail)


def _weigh(project: Project, model: str, version: str) -> None:
    scorer = f"{REVIEW}:{model}"
    known = {
        case_id: one for case_id, one in project.catalog.scores.details(scorer).items() if one.model_version == version
    }
    found = {
        case_id: {
            name: Agreement(**{**each, "slices": tuple(each["slices"])})
            for name, each in one.detail["agreements"].items()
        }
        for case_id, one in known.items()
    }
    for case_id, doubt in doubts(found).items():
        before = known[case_id]
        detail = {**before.detail, "structure": doubt.structure, "slices": list(doubt.slices), "why": doubt.why}
        if (before.value, dict(before.detail)) != (doubt.value, detail):
            project.catalog.scores.put(case_id, scorer, version, doubt.value, before.seconds, detail)
