"""How a job reports progress, is stopped, and yields to interactive prompts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from app.catalog.jobs import Jobs
from app.errors import Cancelled
from app.models.device import interacting

_WRITE_EVERY = 0.5
"""Seconds between progress updates, which also read the stop flag."""


class Control:
    """Used in a job's process. `touched` is the file that the server touches at every prompt; a job pauses until there
    were no prompts for `pause_seconds`."""

    def __init__(
        self,
        jobs: Jobs,
        job_id: str,
        touched: Path,
        pause_seconds: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._touched = touched
        self._pause_seconds = pause_seconds
        self._sleep = sleep
        self._done = 0.0
        self._next_write = 0.0
        self.waited = 0.0
        """Seconds for which this job has paused for prompts."""

    def pause(self) -> None:
        """Call before each step. Waits while there are prompts. Raises `Cancelled` if the job should stop."""
        self._report()
        while interacting(self._touched, self._pause_seconds):
            self._sleep(0.05)
            self.waited += 0.05
            self._report()

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
