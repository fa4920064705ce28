"""Jobs: queueing, stopping and observing training, scoring and segmentation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.core.job import Job, JobKind
from app.core.model import Option
from app.errors import AlreadyRunning, BadOption, UnknownModel
from app.learning.review import REVIEW
from app.learning.runner import JobRunner
from app.learning.scoring import ENTROPY, scorers_of
from app.plugins import Plugin
from app.project.project import Project
from app.services.models import ModelService

SCORERS = {
    "entropy": "How unsure the served model is, in one pass (entropy in and around what it finds)",
    REVIEW: "How much labels differ from what the model finds, to find wrong labels",
    "epistemic": "How much the last weights of the training run disagree (mutual information)",
}

MOST_EPOCHS = 100_000

_PRIORITY: dict[JobKind, int] = {"segment": 2, "score": 1, "train": 0}


@dataclass(frozen=True)
class TrainerCard:
    """How a model is trained, for clients. `options` are the options that may be set, with their defaults."""

    description: str
    labels: list[str]
    options: Mapping[str, Option]


@dataclass(frozen=True)
class TrainingStatus:
    """The progress of a training run: `epoch` of `epochs`. `metrics` are those of the last epoch, empty before the
    first; `best` is the highest Dice so far, None if none was measured."""

    job: Job
    epoch: int
    epochs: int
    metrics: Mapping[str, Any]
    best: float | None

    @property
    def seconds(self) -> float:
        """The duration of a finished run."""
        return (self.job.ended or 0) - (self.job.started or self.job.ended or 0)


@dataclass(frozen=True)
class JobService:
    """Queues and controls jobs. `find_plugins` returns the trainers by name; callers name the model to be trained."""

    project: Project
    models: ModelService
    runner: JobRunner
    find_plugins: Callable[[], Mapping[str, Plugin]]

    @cached_property
    def plugins(self) -> Mapping[str, Plugin]:
        """The trainers, found at first use: they import torch, which takes seconds and would delay the start."""
        return self.find_plugins()

    def trainers(self) -> dict[str, TrainerCard]:
        """Model name -> how it is trained, for models that have a trainer."""
        cards = {}
        for name, model in self.project.settings.models.items():
            plugin = self.plugins.get(model.trainer)
            if plugin is not None:
                options = {**plugin.options, **_known(model.options, plugin.options)}
                options = {"max_epochs": self.project.settings.learning.epochs, **options}
                cards[name] = TrainerCard(plugin.description, list(self.models.card(name).labels), options)
        return cards

    def scorers(self) -> dict[str, str]:
        """Public name (`entropy_segmentation`) -> what it measures."""
        return {f"{scorer}_{model}": text for scorer, text in SCORERS.items() for model in self.models.probabilistic()}

    def train(
        self,
        model: str,
        options: Mapping[str, Any],
        who: str,
        enqueue: bool = False,
        label_ids: Sequence[int] = (),
    ) -> Job:
        """Queue a training run; with `enqueue` also while another is open. `label_ids` are the labels it is queued for.

        Raises `UnknownModel`, `BadOption`, and `AlreadyRunning` without `enqueue`.
        """
        trainers = self.trainers()
        if model not in trainers:
            raise UnknownModel(f"{model} isn't trained here; these are: {', '.join(trainers) or 'none'}")
        if not enqueue and (running := self.open("train")):
            raise AlreadyRunning(f"training of {running[0].name} is already running; stop it first or wait for it")
        known = {"max_epochs", *trainers[model].options}
        request = {key: value for key, value in options.items() if key in known}
        if request.get("max_epochs"):
            request["max_epochs"] = _epochs(request["max_epochs"])
        return self._add("train", model, {**request, "label_ids": list(label_ids)}, who, once=not enqueue)

    def score(self, method: str, options: Mapping[str, Any], who: str, scorers: Sequence[str] = ()) -> Job:
        """Queue a scoring run over unlabelled cases, or over labels if it is for `review`. `method` is one of
        `scorers`, or a scorer's or model's name.

        `scorers` are what to compute, by default what `method` says and `entropy`, which costs nothing more. Raises
        `UnknownModel`, and `AlreadyRunning` if an open run computes that too.
        """
        model, scorer = self._method(method)
        wanted = tuple(scorers) or ((REVIEW,) if scorer == REVIEW else tuple(dict.fromkeys([ENTROPY, scorer])))
        request = {key: value for key, value in options.items() if key != "scorers"}
        if wanted != (ENTROPY,):
            request["scorers"] = list(wanted)
        others = [job for job in self.open("score") if job.name == model]
        return self._add("score", model, request, who, once=any({*wanted} <= {*scorers_of(job)} for job in others))

    def _method(self, method: str) -> tuple[str, str]:
        """The model and the scorer of a scoring method. Raises `UnknownModel`."""
        models = self.models.probabilistic()
        for model in models:
            if method == model:
                return model, ENTROPY
            if method in {f"{scorer}_{model}" for scorer in SCORERS}:
                return model, method.removesuffix(f"_{model}")
        if method in SCORERS and models:
            return models[0], method
        raise UnknownModel(f"no scoring method {method!r}; there are: {', '.join(self.scorers()) or 'none yet'}")

    def segment(self, model: str, images: str, options: Mapping[str, Any], who: str) -> Job:
        """Queue an automatic model over `all`, `labeled` or `unlabeled` cases; the results become labels."""
        if images not in ("all", "labeled", "unlabeled"):
            raise BadOption(f"images is all, labeled or unlabeled, not {images!r}")
        self.models.automatic(model)
        return self._add("segment", model, {**options, "images": images}, who, once=True)

    def current(self, kind: JobKind) -> Job | None:
        """The running job of a kind, else the newest one; None if there has been none."""
        jobs = self.project.catalog.jobs.listed(kind)
        return next((job for job in jobs if job.state == "running"), jobs[0] if jobs else None)

    def open(self, kind: JobKind) -> list[Job]:
        """Jobs of a kind that run or wait, newest first."""
        return list(self.project.catalog.jobs.listed(kind, open_only=True))

    def running(self, kind: JobKind) -> bool:
        """Whether a job of a kind runs or waits."""
        return bool(self.open(kind))

    def all(self, kind: JobKind) -> list[Job]:
        """Every job of a kind, newest first."""
        return list(self.project.catalog.jobs.listed(kind))

    def get(self, job_id: str) -> Job:
        """A job by its id. Raises `UnknownJob`."""
        return self.project.catalog.jobs.get(job_id)

    def newest(self, kind: JobKind | None = None, limit: int = 100) -> list[Job]:
        """The newest jobs of a kind or of all kinds, newest first."""
        return list(self.project.catalog.jobs.listed(kind, limit=limit))

    def epochs(self, job: Job) -> list[Mapping[str, Any]]:
        """The record of each epoch of a training run, in order: `epoch`, `total`, `metrics` and `seconds`."""
        return [data for _, _, data in self.project.catalog.jobs.events(job.id, kind="epoch")]

    def stop_one(self, job_id: str) -> Job:
        """Stop one job: a waiting job at once, a running one at its next step. Raises `UnknownJob`."""
        job = self.project.catalog.jobs.get(job_id)
        if job.open:
            job = self.project.catalog.jobs.request_stop(job_id)
            self.runner.wake()
        return job

    def stop(self, kind: JobKind, who: str) -> Job | None:
        """Stop every open job of a kind; returns the oldest of them, None if there was none."""
        stopped = [self.project.catalog.jobs.request_stop(job.id) for job in self.open(kind)]
        self.runner.wake()
        return stopped[-1] if stopped else None

    def log(self, job: Job, lines: int = 20) -> list[str]:
        """The last lines of a job's log."""
        return self.runner.log_tail(job.id, lines)

    def wait(self, job: Job) -> Job:
        """Block until a job has ended, and return it."""
        while job.open:
            time.sleep(0.2)
            job = self.project.catalog.jobs.get(job.id)
        return job

    def training(self) -> dict[str, TrainingStatus]:
        """Model -> the progress of its newest training run; running ones first, then the newest."""
        newest: dict[str, Job] = {}
        for job in self.project.catalog.jobs.listed("train"):
            newest.setdefault(job.name, job)
        ordered = sorted(newest.values(), key=lambda job: (job.state != "running", -job.created))
        return {job.name: self._status(job) for job in ordered}

    def _status(self, job: Job) -> TrainingStatus:
        epochs = self.epochs(job)
        measured = [float(epoch["metrics"]["dice"]) for epoch in epochs if "dice" in epoch["metrics"]]
        try:
            planned = _epochs(job.request.get("max_epochs") or self.project.settings.learning.epochs)
        except BadOption:  # a job that was queued before this was checked
            planned = self.project.settings.learning.epochs
        return TrainingStatus(
            job=job,
            epoch=epochs[-1]["epoch"] if epochs else 0,
            epochs=epochs[-1]["total"] if epochs else planned,
            metrics=epochs[-1]["metrics"] if epochs else {},
            best=max(measured, default=None),
        )

    def _add(self, kind: JobKind, name: str, request: Mapping[str, Any], who: str, once: bool) -> Job:
        job = self.project.catalog.jobs.add(kind, name, {**request, "who": who}, _PRIORITY[kind], once)
        self.runner.wake()
        return job


def _known(given: Mapping[str, Option], options: Mapping[str, Option]) -> dict[str, Option]:
    return {key: value for key, value in given.items() if key in options}


def _epochs(value: object) -> int:
    """A number of epochs; viewers send a number, or its text. Raises `BadOption`."""
    try:
        number = float(value) if isinstance(value, int | float | str) and value is not True else 0.0
    except ValueError:
        number = 0.0
    if not (1 <= number <= MOST_EPOCHS and number.is_integer()):
        raise BadOption(f"max_epochs is a whole number from 1 to {MOST_EPOCHS}, not {str(value)[:80]!r}")
    return int(number)
