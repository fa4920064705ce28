"""Jobs, learning curves, and the versions of each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.core.job import Job
from app.core.model import ModelCard, ModelVersion, version_before
from app.services import Services

JOBS_SHOWN = 12

KINDS = {"train": "Training", "score": "Scoring", "segment": "Segmenting"}


@dataclass(frozen=True)
class JobRow:
    """A job. `progress` is 0..1; `message` describes its progress or result."""

    id: str
    kind: str
    model: str
    state: str
    progress: float
    message: str
    who: str
    created: datetime
    ended: datetime | None
    seconds: float | None
    open: bool
    stopping: bool

    @property
    def failed(self) -> bool:
        return self.state == "failed"

    @property
    def title(self) -> str:
        return f"{KINDS.get(self.kind, self.kind)} {self.model}"


@dataclass(frozen=True)
class Jobs:
    """The newest jobs. `trainable` and `scorable` are the models that a job can be started for. `train_after` new
    labels start a training automatically; 0: never."""

    rows: tuple[JobRow, ...]
    trainable: tuple[str, ...]
    scorable: tuple[str, ...]
    epochs: int
    train_after: int


def job_row(job: Job, epochs: Sequence[Mapping[str, Any]]) -> JobRow:
    """The row of a job. `epochs` are its records of finished epochs."""
    seconds = job.ended - job.started if job.ended is not None and job.started is not None else None
    return JobRow(
        id=job.id,
        kind=job.kind,
        model=job.name,
        state=job.state,
        progress=job.progress,
        message=_message(job, epochs),
        who=str(job.request.get("who", "")),
        created=datetime.fromtimestamp(job.created, UTC),
        ended=datetime.fromtimestamp(job.ended, UTC) if job.ended is not None else None,
        seconds=seconds,
        open=job.open,
        stopping=job.open and job.stop_requested,
    )


def _message(job: Job, epochs: Sequence[Mapping[str, Any]]) -> str:
    if job.stop_requested and job.open:
        return "stops at its next step"
    if job.state == "running" and epochs:
        return _epoch(epochs[-1])
    if job.state == "done":
        return _result(job)
    if job.state == "failed":
        return job.error.strip().splitlines()[-1] if job.error.strip() else "it failed without a word"
    if job.state == "queued" and job.attempt:
        return "its process died; it goes on from its last checkpoint"
    return ""


def _epoch(noted: Mapping[str, Any]) -> str:
    metrics = noted["metrics"]
    said = [f"epoch {noted['epoch']} of {noted['total']}"]
    said += [f"loss {metrics['loss']:.3f}"] if "loss" in metrics else []
    said += [f"Dice {metrics['dice']:.3f}"] if "dice" in metrics else []
    return ", ".join(said)


def _result(job: Job) -> str:
    """The result of a job in one line, by kind (`app.learning`: training, scoring, batch)."""
    result = job.result
    if "reason" in result:
        return f"{result['version']} {result['state']}: {result['reason']}"
    if "scored" in result:
        left = f", {result['left']} left for later" if result.get("left") else ""
        return f"{result['scored']} cases scored by {result['version']}{left}"
    if "segmented" in result:
        failed = f", {len(result['failed'])} failed" if result.get("failed") else ""
        return f"{result['segmented']} cases segmented by {result['version']}{failed}"
    return ""


@dataclass(frozen=True)
class Point:
    """One version in a learning curve. `dice` is None if it wasn't measured: no validation patient had a label yet, or
    the weights were imported."""

    version: str
    number: int
    created: datetime
    dice: float | None
    cases: int
    published: bool
    served: bool
    reason: str


@dataclass(frozen=True)
class Curve:
    """The versions of one model, oldest first."""

    model: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class LearningCurves:
    """Dice of each model version on the validation fold, which is never trained on."""

    curves: tuple[Curve, ...]

    @property
    def measured(self) -> bool:
        """Whether any version has a Dice."""
        return any(point.dice is not None for curve in self.curves for point in curve.points)

    @property
    def chart(self) -> dict[str, object]:
        """The chart's data over version numbers: published versions as a line, rejected ones as crosses."""
        last = max((point.number for curve in self.curves for point in curve.points), default=0)
        return {"versions": list(range(1, last + 1)), "models": [_series(curve, last) for curve in self.curves]}


def learning_curves(versions: Sequence[ModelVersion], served: Mapping[str, str]) -> LearningCurves:
    """The curves of all models. `served` maps a model's name to the id of its served version."""
    by_model: dict[str, list[Point]] = {}
    for one in sorted(versions, key=lambda version: (version.model, version.number)):
        by_model.setdefault(one.model, []).append(_point(one, served.get(one.model) == one.id))
    return LearningCurves(tuple(Curve(model, tuple(points)) for model, points in by_model.items()))


def _point(version: ModelVersion, served: bool) -> Point:
    dice = version.metrics.get("best_metric")
    return Point(
        version=version.id,
        number=version.number,
        created=datetime.fromtimestamp(version.created, UTC),
        dice=float(dice) if dice is not None else None,
        cases=int(version.metrics.get("validation_cases", 0)),
        published=version.state == "published",
        served=served,
        reason=version.reason,
    )


def _series(curve: Curve, last: int) -> dict[str, object]:
    published: list[float | None] = [None] * last
    rejected: list[float | None] = [None] * last
    for point in curve.points:
        (published if point.published else rejected)[point.number - 1] = point.dice
    return {"name": curve.model, "published": published, "rejected": rejected}


@dataclass(frozen=True)
class VersionRow:
    """A version. `dice` is the mean over `by_structure`, 0..1, on `validation_cases` cases; None if not measured."""

    id: str
    number: int
    created: datetime
    published: bool
    served: bool
    dice: float | None
    by_structure: tuple[tuple[str, float], ...]
    training_cases: int | None
    validation_cases: int | None
    parent: str
    reason: str
    licence: str


@dataclass(frozen=True)
class ModelVersions:
    """One model and its versions. `back_to` is the version that a rollback would serve, "" if there is none."""

    name: str
    description: str
    served: str
    back_to: str
    versions: tuple[VersionRow, ...]


def model_versions(
    cards: Sequence[ModelCard], trained: Sequence[str], versions: Sequence[ModelVersion], served: Mapping[str, str]
) -> tuple[ModelVersions, ...]:
    """The models that have versions or a trainer (`trained`). `versions` are newest first; `served` maps a model's name
    to the id of its served version."""
    found = []
    for card in cards:
        own = [one for one in versions if one.model == card.name]
        if own or card.name in trained:
            found.append(_of_model(card, own, served.get(card.name, "")))
    return tuple(found)


def _of_model(card: ModelCard, own: Sequence[ModelVersion], served: str) -> ModelVersions:
    current = next((one for one in own if one.id == served), None)
    back_to = version_before(own, current)
    rows = tuple(_row(one, one.id == served) for one in sorted(own, key=lambda one: -one.number))
    return ModelVersions(card.name, card.description, served, back_to.id if back_to else "", rows)


def _row(version: ModelVersion, served: bool) -> VersionRow:
    metrics = version.metrics
    dice = metrics.get("best_metric")
    return VersionRow(
        id=version.id,
        number=version.number,
        created=datetime.fromtimestamp(version.created, UTC),
        published=version.state == "published",
        served=served,
        dice=float(dice) if dice is not None else None,
        by_structure=tuple((name, float(value)) for name, value in metrics.get("dice", {}).items()),
        training_cases=metrics.get("training_cases"),
        validation_cases=metrics.get("validation_cases"),
        parent=version.parent,
        reason=version.reason,
        licence=version.licence,
    )


def read_jobs(services: Services) -> Jobs:
    learning = services.settings.learning
    return Jobs(
        # The epochs are needed for running jobs only.
        rows=tuple(
            job_row(job, services.jobs.epochs(job) if job.state == "running" else ())
            for job in services.jobs.newest(limit=JOBS_SHOWN)
        ),
        trainable=_trained(services),
        scorable=tuple(services.models.probabilistic()),
        epochs=learning.epochs,
        train_after=learning.train_after,
    )


def read_learning(services: Services) -> LearningCurves:
    return learning_curves(services.models.versions(), _served(services))


def read_models(services: Services) -> tuple[ModelVersions, ...]:
    return model_versions(services.models.cards(), _trained(services), services.models.versions(), _served(services))


def _served(services: Services) -> dict[str, str]:
    return {name: services.models.version_served(name) for name in services.settings.models}


def _trained(services: Services) -> tuple[str, ...]:
    """Models with a trainer in the settings; the trainers themselves would import torch."""
    return tuple(name for name, model in services.settings.models.items() if model.trainer)
