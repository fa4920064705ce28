"""One run: cases are labelled in the order that a strategy picks, and a model learns after each round.

Everything but the annotators is the server's own: the archive's cases in a catalog, strategies over their scores,
claims, label versions, trainers, the scoring job. Two things differ, so that only the choice of cases counts: no
patient is kept for validation, and every version is published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import cast

import numpy as np

from app import plugins
from app.archives.memory import MemoryArchive
from app.core.label import Submission
from app.core.mask import Mask, dice
from app.core.model import AutomaticModel
from app.core.progress import ignore_progress
from app.core.training import TrainingRun
from app.learning.checkpoints import Checkpoints
from app.learning.control import Control
from app.learning.dataset import labelled_cases, learnable, prepare
from app.learning.gate import Verdict
from app.learning.publish import Outcome, publish
from app.learning.scoring import ENTROPY, score
from app.models.device import Device
from app.models.trained.spec import read_version
from app.project.label_commit import commit_label
from app.project.open_models import open_model
from app.project.project import Project
from app.project.trainers import trainer_of
from app.services.cases import CaseService
from app.services.next_case import NextCaseService
from app.settings import Settings
from app.simulation.learning.cases import LabelledCase, Split
from app.simulation.learning.scenarios import Learner, Scenario

MODEL = "model"
_BEGIN = 1_700_000_000.0
"""The simulated time of the first request, in seconds since the epoch."""
_FIRST_SEED = 900


@dataclass(frozen=True)
class Round:
    """What one training came to: `number` 0 is after the first cases, which are the same for every strategy.

    `dice` is the mean over `by_structure`, each of which is the mean over the test cases that have the structure.
    `effort` is how many voxels lie on the contours that were drawn, slice by slice. `shared`: two annotators held cases
    of one patient although there were cases of patients whom nobody held. `selection_seconds` are CPU seconds of
    scoring and picking, `training_seconds` of training.
    """

    strategy: str
    seed: int
    number: int
    labels: int
    patients: int
    effort: int
    dice: float
    by_structure: Mapping[str, float]
    shared: bool
    selection_seconds: float
    training_seconds: float


def replay(scenario: Scenario, split: Split, strategy: str, seed: int, folder: Path) -> Iterator[Round]:
    """The rounds of one run, as they are done; fewer than the scenario's if the pool is used up. `folder` gets a
    workspace. Raises `UnknownStrategy`, `ConfigurationError` for a trainer that doesn't exist."""
    project = open_project(scenario.learner, split, folder)
    try:
        people = _Annotators(project, split.pool, strategy, seed)
        people.label_first(scenario.labelling.first)
        shared, selecting = False, 0.0
        for number in range(scenario.labelling.rounds + 1):
            if number > 0:
                start, before = process_time(), people.count
                if people.scorers:
                    score_cases(project, people.scorers)
                shared = people.label(scenario.labelling.per_round, scenario.labelling.annotators)
                selecting = process_time() - start - people.take_seconds()
                if people.count == before:
                    return
            start = process_time()
            train_once(project, scenario.learner, seed, number)
            training = process_time() - start
            found = _test(project, split.test)
            yield Round(
                strategy,
                seed,
                number,
                people.count,
                people.patients,
                people.effort,
                float(np.mean(list(found.values()))) if found else 0.0,
                found,
                shared,
                selecting,
                training,
            )
    finally:
        project.close()


class _Annotators:
    """People who label with the truth what they are offered. `clock` is simulated, and with it the seeds of random
    strategies."""

    def __init__(self, project: Project, pool: Sequence[LabelledCase], strategy: str, seed: int) -> None:
        found = plugins.strategies().found
        self._project = project
        self._truth = {one.id: one for one in pool}
        self._strategy = strategy
        self._seed = seed
        self._now = _BEGIN + 1e6 * seed
        self._desk = NextCaseService(project, CaseService(project), found, [MODEL], clock=self._clock)
        self._labelled: dict[str, LabelledCase] = {}
        self._seconds = 0.0
        looks = strategy in found and "model" in found[strategy].options
        self.scorers = tuple(dict.fromkeys((ENTROPY, *found[strategy].scorers))) if looks else ()

    @property
    def count(self) -> int:
        return len(self._labelled)

    @property
    def patients(self) -> int:
        return len({one.patient for one in self._labelled.values()})

    @property
    def effort(self) -> int:
        return sum(contour_voxels(one.mask) for one in self._labelled.values())

    def take_seconds(self) -> float:
        """The CPU seconds that submitting took since this was last called."""
        taken, self._seconds = self._seconds, 0.0
        return taken

    def label_first(self, count: int) -> None:
        """Label cases that the seed alone decides."""
        ids = list(self._truth)
        rng = np.random.default_rng(_FIRST_SEED + self._seed)
        for index in rng.choice(len(ids), min(count, len(ids)), replace=False):
            self._submit(ids[index])
        self.take_seconds()

    def label(self, count: int, annotators: int) -> bool:
        """Label so many cases, `annotators` of them at a time. Returns `Round.shared`."""
        shared, left = False, count
        while left > 0:
            held: list[str] = []
            for person in range(min(annotators, left)):
                offer = self._desk.next(self._strategy, f"annotator {person}", {})
                if offer is None:
                    break
                shared = shared or self._avoidable(offer.row.case.id, held)
                held.append(offer.row.case.id)
            for case_id in held:
                self._submit(case_id)
            if not held:
                break
            left -= len(held)
        return shared

    def _avoidable(self, case_id: str, held: Sequence[str]) -> bool:
        unlabelled = (one.patient for one in self._truth.values() if one.id not in self._labelled)
        return avoidable(self._truth[case_id].patient, {self._truth[one].patient for one in held}, unlabelled)

    def _submit(self, case_id: str) -> None:
        start = process_time()
        one = self._truth[case_id]
        row = self._project.catalog.cases.get(case_id)
        submission = Submission("annotator", "simulation")
        commit_label(self._project, row, one.mask, submission, one.mask.sha256)
        self._labelled[case_id] = one
        self._seconds += process_time() - start

    def _clock(self) -> float:
        self._now += 60.0
        return self._now


def avoidable(patient: str, held: Set[str], unlabelled: Iterable[str]) -> bool:
    """Whether somebody holds a case of `patient` while there are unlabelled cases of patients whom nobody holds."""
    return patient in held and any(other not in held for other in unlabelled)


def contour_voxels(mask: Mask) -> int:
    """How many voxels lie on the contours of all segments, slice by slice: what somebody without a model draws."""
    from scipy.ndimage import binary_erosion

    flat = np.ones((1, 3, 3), bool)
    areas = (mask.voxels_of(segment.number) for segment in mask.segments)
    return sum(int((area & ~binary_erosion(area, flat)).sum()) for area in areas)


def open_project(learner: Learner, split: Split, folder: Path) -> Project:
    """A project in `folder` over the cases of a pool, none of them labelled, with the learner's model as `MODEL`."""
    settings = Settings(
        workspace=folder,
        device="cpu",
        threads=1,
        labels={"structures": list(split.structures)},
        models={MODEL: {"type": learner.type, "trainer": learner.trainer, "options": learner.options}},
        learning={"pause_seconds": 0.0, "score_cases": 1_000_000, "score_seconds": 1e9},
    )
    archive = MemoryArchive()
    for one in split.pool:
        archive.add_volume(one.id, one.volume, one.patient)
    project = Project.open(settings, archive)
    project.catalog.cases.apply(archive.list(None), "simulation")
    return project


def train_once(project: Project, learner: Learner, seed: int, number: int) -> None:
    """Train the model with the labels at hand and publish it, whatever it is worth; `number` counts the trainings."""
    cases = labelled_cases(project)
    parent = project.catalog.versions.served(MODEL)
    before = read_version(project.paths.models / parent.folder) if parent is not None else None
    trainer = trainer_of(project, MODEL, {})
    epochs = learner.epochs if before is not None else learner.first_epochs
    job = project.catalog.jobs.add("train", MODEL, {}, once=False)
    checkpoints = Checkpoints(project.paths.jobs / job.id, epochs, project.settings.learning.snapshots)
    labels = learnable(project.settings.labels.structures, cases)
    spec = checkpoints.spec(trainer.spec(labels, before.spec if before is not None else None))
    device = Device("cpu", threads=1).torch_name  # resolving it sets the number of threads
    number_of_run = seed * 1000 + number
    network = checkpoints.network(spec, before, number_of_run)
    samples, _ = prepare(project, project.paths.cache / "prepared", cases, spec, lambda: None)
    run = TrainingRun(spec, network, device, samples, (), epochs, number_of_run, lambda: None)
    for epoch in trainer.train(run):
        checkpoints.keep(epoch, network)
    label_ids = [one.label.id for one in cases]
    published = Verdict(True, "every version is published in a simulation")
    publish(project, job, checkpoints.finish(spec), Outcome({}, label_ids, parent, published))
    project.catalog.jobs.finish(job.id, "done", {})


def score_cases(project: Project, scorers: Sequence[str]) -> None:
    """Run a scoring job of the model to its end."""
    job = project.catalog.jobs.add("score", MODEL, {"scorers": list(scorers)}, once=False)
    score(project, job, Control(project.catalog.jobs, job.id, project.paths.interaction, pause_seconds=0))
    project.catalog.jobs.finish(job.id, "done", {})


def _test(project: Project, cases: Sequence[LabelledCase]) -> dict[str, float]:
    """The mean Dice of each structure over the cases that have it."""
    model = cast(AutomaticModel, open_model(project, MODEL, Device("cpu", threads=1)))
    found: dict[str, list[float]] = {}
    for one in cases:
        mask = model.segment(one.volume, ignore_progress, {})
        numbers = {segment.name: segment.number for segment in mask.segments}
        for segment in one.mask.segments:
            truth = one.mask.voxels_of(segment.number)
            if truth.any():
                there = mask.voxels_of(numbers[segment.name]) if segment.name in numbers else np.zeros_like(truth)
                found.setdefault(segment.name, []).append(dice(there, truth) or 0.0)
    return {name: float(np.mean(values)) for name, values in found.items()}
