"""Automatic training and scoring."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from app.core.label import FINAL
from app.errors import AlreadyRunning
from app.project.project import Project
from app.services.jobs import JobService
from app.services.models import ModelService

logger = logging.getLogger(__name__)

CLOCK = "clock"
"""The requester of jobs that are queued automatically."""


@dataclass(frozen=True)
class DueJobs:
    """Queues jobs by the rules of the settings `learning`."""

    project: Project
    jobs: JobService
    models: ModelService

    def queue(self) -> None:
        """Queue training of models with enough new labels, and scoring by new model versions."""
        learning = self.project.settings.learning
        if learning.train_after == 0 or self.jobs.open("train"):
            return
        labels = {label.id for label, _ in self.project.catalog.labels.newest_of_all(FINAL)}
        needed = max(learning.train_after, learning.train_fraction * len(labels))
        for model in self.models.probabilistic():
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
        done = any(job.name == model and job.request.get("version") == version for job in self.jobs.all("score"))
        if not version or done or self.jobs.open("score"):
            return
        self.jobs.score(model, {"version": version}, CLOCK)
        logger.info("scoring by %s is due: version %s is new", model, version)
