"""What the server works on later, or did: training, scoring, segmenting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.core.job import Job

SHOWN = 12

KINDS = {"train": "Training", "score": "Scoring", "segment": "Segmenting"}


@dataclass(frozen=True)
class JobRow:
    """`progress` is 0..1. `message` says how far a job is, or what came of it; `failed` that it isn't good news."""

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
    """`trainable` and `scorable` are models that a job can be started for. `train_after` is how many new labels start
    one by themselves; 0: none do."""

    rows: tuple[JobRow, ...]
    trainable: tuple[str, ...]
    scorable: tuple[str, ...]
    epochs: int
    train_after: int


def job_row(job: Job, epochs: Sequence[Mapping[str, Any]]) -> JobRow:
    """`epochs` are what the job noted about the epochs it has done."""
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
    """The one line that each kind of job comes to (`app.learning`: training, scoring, batch)."""
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
