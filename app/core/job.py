"""Work that runs later, in a process of its own: training, scoring, segmenting many cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

JobKind = Literal["train", "score", "segment"]
JobState = Literal["queued", "running", "done", "failed", "stopped"]


@dataclass(frozen=True)
class Job:
    """A row of the job table. `name` is the model or scorer. `progress` goes from 0 to 1. `pid` and `pid_started`
    identify its process. Times are seconds since the epoch."""

    id: str
    kind: JobKind
    name: str
    state: JobState
    request: Mapping[str, Any]
    priority: int
    progress: float
    attempt: int
    pid: int | None
    pid_started: float | None
    stop_requested: bool
    created: float
    started: float | None
    ended: float | None
    result: Mapping[str, Any]
    error: str

    @property
    def open(self) -> bool:
        """Whether it is queued or running."""
        """Whether it is queued or running."""
        return self.state in ("queued", "running")
