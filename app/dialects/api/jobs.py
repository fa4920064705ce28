"""Training and scoring jobs: starting, observing, stopping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from app.core.job import Job, JobKind, JobState
from app.dialects.api.common import Asking, moment, moment_or_none, text
from app.services import Services


class EpochShape(BaseModel):
    """One epoch of a training run. `dice` is that of the validation cases; null if there are none."""

    epoch: int
    total: int
    loss: float | None
    dice: float | None
    seconds: float | None

    @classmethod
    def of(cls, noted: Mapping[str, Any]) -> EpochShape:
        metrics = noted["metrics"]
        return cls(
            epoch=noted["epoch"],
            total=noted["total"],
            loss=metrics.get("loss"),
            dice=metrics.get("dice"),
            seconds=noted.get("seconds"),
        )


class JobShape(BaseModel):
    """A job. `message` is its result; "" before it has ended."""

    id: str
    kind: JobKind
    model: str
    state: JobState
    created: datetime
    started: datetime | None
    finished: datetime | None
    progress: float
    message: str
    epochs: list[EpochShape]

    @classmethod
    def of(cls, job: Job, epochs: Sequence[Mapping[str, Any]]) -> JobShape:
        return cls(
            id=job.id,
            kind=job.kind,
            model=job.name,
            state=job.state,
            created=moment(job.created),
            started=moment_or_none(job.started),
            finished=moment_or_none(job.ended),
            progress=job.progress,
            message=_message(job),
            epochs=[EpochShape.of(noted) for noted in epochs],
        )


class JobRequest(BaseModel):
    """The kind of job and its model. `options` are those of the trainer or scorer."""

    kind: Literal["train", "score"]
    model: str
    options: dict[str, Any] = {}


def _message(job: Job) -> str:
    if job.error:
        return job.error
    if "scored" in job.result:
        return f"{job.result['scored']} cases scored, {job.result.get('left', 0)} left"
    said = (str(job.result.get(key, "")) for key in ("version", "state", "reason"))
    return ": ".join(text for text in said if text)


def add(api: APIRouter, services: Services) -> None:
    jobs = services.jobs

    @api.get("/jobs", summary="List jobs")
    def listed(kind: JobKind | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[JobShape]:
        """Newest first."""
        return [shape_of(services, job) for job in jobs.newest(kind, limit)]

    @api.post("/jobs", summary="Train a model, or score cases with it", status_code=201)
    def started(asked: JobRequest, asking: Asking) -> JobShape:
        """429 if a job of that kind is already running."""
        start = jobs.train if asked.kind == "train" else jobs.score
        return shape_of(services, start(asked.model, asked.options, asking.who))

    @api.get("/jobs/{job_id}", summary="One job")
    def one(job_id: str) -> JobShape:
        return shape_of(services, jobs.get(job_id))

    @api.delete("/jobs/{job_id}", summary="Stop a job", status_code=202)
    def stopped(job_id: str) -> JobShape:
        """A waiting job stops at once, a running one at its next step. A finished job doesn't change."""
        return shape_of(services, jobs.stop_one(job_id))

    @api.get(
        "/jobs/{job_id}/log", summary="A job's log", response_class=PlainTextResponse, responses=text("text/plain")
    )
    def log(job_id: str, lines: Annotated[int, Query(ge=1, le=10_000)] = 1000) -> PlainTextResponse:
        """The last lines of the job's log."""
        return PlainTextResponse("".join(f"{line}\n" for line in jobs.log(jobs.get(job_id), lines)))


def shape_of(services: Services, job: Job) -> JobShape:
    return JobShape.of(job, services.jobs.epochs(job) if job.kind == "train" else [])
