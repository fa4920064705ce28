"""Automatic training and scoring."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.core.job import Job
from app.core.label import FINAL
from app.errors import AlreadyRunning
from app.learning.review import REVIEW, unreviewed
from app.learning.scoring import ENTROPY, unscored
from app.project.project import Project
from app.services.jobs import JobService
from app.services.models import ModelService
from app.services.next_case import NextCaseService

logger = logging.getLogger(__name__)

CLOCK = "clock"
"""The requester of jobs that are queued automatically."""

RETRY_SECONDS = 600.0
"""After a scoring job that scored nothing, the next one of the same version waits so long."""


@dataclass(frozen=True)
class DueJobs:
    """Queues jobs by the rules of the settings `learning`."""

    project: Project
    jobs: JobService
    models: ModelService
    next_case: NextCaseService

    def queue(self) -> None:
        """Queue training of models with enough new labels, and scoring of cases without a score of the served version:
        one job after the other, until all have one."""
        learning = self.project.settings.learning
        if learning.train_after == 0 or self.jobs.open("train"):
            return
        labels = {label.id for label, _ in self.project.catalog.labels.newest_of_all(FINAL)}
        needed = max(learning.train_after, learning.train_fraction * len(labels))
        for model in [*self.models.probabilistic(), *self.models.fine_tuned()]:
            if model in self.jobs.trainers() and len(labels - self._seen(model)) >= needed:
                self._start(model)
        for model in self.models.probabilistic():
            self._score(model)

    def _seen(self, model: str) -> set[int]:
        """The labels that earlier training runs of this model used, whatever their result."""
        seen: set[int] = set()
        for version in self.models.versions(model):
            seen |= set(version.label_ids)
        for job in self.jobs.all("train"):
            if job.name == model:
                seen |= set(job.request.get("label_ids", ()))
        return seen

    def _start(self, model: str) -> None:
        labels = [label.id for label, _ in self.project.catalog.labels.newest_of_all(FINAL)]
        try:
            self.jobs.train(model, {}, CLOCK, label_ids=labels)
        except AlreadyRunning:
            return
        logger.info("training of %s is due: %d labels", model, len(labels))

    def _score(self, model: str) -> None:
        version = self.models.version(model)
        if not version or self.jobs.open("score"):
            return
        mine = [job for job in self.jobs.all("score") if job.name == model and job.request.get("version") == version]
        # A person who stopped scoring doesn't want it again before there is another version.
        if mine and (
            mine[0].state == "stopped" or (_in_vain(mine[0]) and time.time() - _ended(mine[0]) < RETRY_SECONDS)
        ):
            return
        used = self.next_case.scorers(model)
        scorers: tuple[str, ...] = (ENTROPY, *sorted(used - {ENTROPY, REVIEW}))
        served = self.models.version_served(model) or version
        todo: Sequence[object] = unscored(self.project, model, served, scorers)
        if not todo and REVIEW in used:
            scorers, todo = (REVIEW,), unreviewed(self.project, model, served)
        if todo:
            self.jobs.score(model, {"version": version}, CLOCK, scorers)
            logger.info("scoring by %s is due: %d cases have no %s score", model, len(todo), scorers[0])


def _in_vain(job: Job) -> bool:
    """Whether a job scored nothing: the archive doesn't answer, or none of the cases can be scored."""
    return job.state == "failed" or not job.result.get("scored")


def _ended(job: Job) -> float:
    return job.ended or job.created
