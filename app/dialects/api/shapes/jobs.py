"""Work that runs later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from app.core.job import Job, JobKind, JobState
from app.dialects.api.shapes.moments import moment, moment_or_none


class EpochShape(BaseModel):
    """One pass over the training data. `dice` is of the validation cases; null if there are none."""

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
    """A job. `message` says how it ended, "" before that."""

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
    """What to do, and with which model. `options` are those of the trainer or scorer."""

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
