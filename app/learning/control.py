"""How a job reports progress, is stopped, and yields to interactive prompts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from app.catalog.jobs import Jobs
from app.errors import Cancelled
from app.models.device import since_prompt

_WRITE_EVERY = 0.5
"""Seconds between progress updates, which also read the stop flag."""
_PACE = 0.1
"""The share of its pace that a job keeps while somebody prompts without a break, always between two prompts."""


class Control:
    """Used in a job's process. `touched` is the file that the server's device touches at every prompt. A job pauses
    until there were no prompts for `pause_seconds`, but never for more than nine times as long as its last step took:
    then it takes one more step as soon as no prompt runs. `sleep` and `clock` are those of `time`."""

    def __init__(
        self,
        jobs: Jobs,
        job_id: str,
        touched: Path,
        pause_seconds: float,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._touched = touched
        self._pause_seconds = pause_seconds
        self._sleep = sleep
        self._clock = clock
        self._step_began: float | None = None
        self._done = 0.0
        self._next_write = 0.0
        self.waited = 0.0
        """Seconds for which this job has paused for prompts."""

    def pause(self) -> None:
        """Call before each step. Waits while there are prompts. Raises `Cancelled` if the job should stop."""
        self._report()
        began = self._clock()
        # Before the first step nothing is known of how long one takes; a second is as good as any.
        step = 1.0 if self._step_began is None else began - self._step_began
        most = step * (1 / _PACE - 1)
        while self._in_the_way(self._clock() - began >= most):
            self._sleep(0.05)
            self._report()
        self._step_began = self._clock()
        self.waited += self._step_began - began

    def _in_the_way(self, waited_enough: bool) -> bool:
        """Whether somebody who prompts would feel a step now. After a long wait only a prompt that runs counts."""
        ago = since_prompt(self._touched)
        if ago is None:
            return self._pause_seconds > 0
        return not waited_enough and ago < self._pause_seconds

    def progress(self, done: float, text: str = "") -> None:
        """Report progress, 0..1; `text` is ignored. Raises `Cancelled` if the job should stop."""
        self._done = min(1.0, max(0.0, done))
        self._report()

    def _report(self) -> None:
        now = time.monotonic()
        if now < self._next_write:
            return
        self._next_write = now + _WRITE_EVERY
        if self._jobs.progress(self._job_id, self._done):
            raise Cancelled("someone asked for this job to stop")
