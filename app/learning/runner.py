"""Runs queued jobs, one at a time, each in a process of its own.

The catalog's job table is authoritative. The runner starts and supervises processes; a process writes its own progress
and result into the table. So nothing is lost when the server is killed: the process continues, and the next server
adopts it by PID and start time. When a process dies, its job is queued again and resumes from its last checkpoint;
when it exits with `CONFIGURATION_EXIT_CODE`, the job fails.

One thread does all the work; `wake` and `shutdown` may be called from other threads.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM

from app.catalog.jobs import Jobs
from app.core.job import Job
from app.errors import CONFIGURATION_EXIT_CODE
from app.learning.processes import alive, signal_group, started

logger = logging.getLogger(__name__)

LOG_NAME = "log.txt"


@dataclass(frozen=True)
class RunnerTiming:
    """Seconds: the poll interval of the job table, and from a stop request to SIGTERM and to SIGKILL."""

    poll: float = 1.0
    terminate: float = 10.0
    kill: float = 20.0


@dataclass
class _Running:
    """The process of a job. `child` is None for one that an earlier server started."""

    job_id: str
    pid: int
    pid_started: float
    child: subprocess.Popen[bytes] | None
    stopping_since: float | None = None

    def lives(self) -> bool:
        if self.child is not None:
            return self.child.poll() is None
        return alive(self.pid, self.pid_started)

    @property
    def misconfigured(self) -> bool:
        """Whether its exit code reports an invalid configuration; unknown for a child of an earlier server."""
        return self.child is not None and self.child.returncode == CONFIGURATION_EXIT_CODE

    def describe_end(self) -> str:
        if self.child is None:
            return "its process no longer exists"
        code = self.child.returncode
        return f"its process was ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"


class JobRunner:
    """`command` returns the command line for a job's id; `folder` gets one folder per job, with its log."""

    def __init__(
        self,
        jobs: Jobs,
        folder: Path,
        command: Callable[[str], Sequence[str]],
        timing: RunnerTiming | None = None,
    ) -> None:
        self._jobs = jobs
        self._folder = folder
        self._command = command
        self._timing = timing or RunnerTiming()
        self._running: _Running | None = None
        self._woken = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="jobs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Poll the table now: a job was queued, or a stop requested."""
        self._woken.set()

    def shutdown(self) -> None:
        """Stop starting jobs, and end the running one: it is queued again, and resumes when a server starts."""
        self._ending.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    def log_tail(self, job_id: str, lines: int = 20) -> list[str]:
        """The last lines of a job's log; none if it never ran."""
        return log_tail(self._folder / job_id / LOG_NAME, lines)

    def _serve(self) -> None:
        self._guarded(self._adopt)
        while not self._ending.is_set():
            self._guarded(self._poll)
            self._woken.wait(self._timing.poll)
            self._woken.clear()
        self._guarded(self._interrupt)

    def _guarded(self, step: Callable[[], None]) -> None:
        """Keep the thread alive after an error in one step (a full disk, a locked table)."""
        try:
            step()
        except Exception:
            logger.exception("an error in the job runner, which continues")

    def _adopt(self) -> None:
        """Adopt jobs that an earlier server left running."""
        for job in self._jobs.listed(open_only=True, limit=1_000_000):
            if job.state != "running":
                continue
            if job.pid is not None and job.pid_started is not None and alive(job.pid, job.pid_started):
                logger.info("job %s still runs as process %d", job.id, job.pid)
                self._running = _Running(job.id, job.pid, job.pid_started, child=None)
            else:
                self._died(job.id, "its process no longer existed when the server started")

    def _poll(self) -> None:
        if self._running is not None:
            self._supervise(self._running)
        while self._running is None:
            job = self._jobs.next_queued()
            if job is None or self._ending.is_set():
                return
            self._launch(job)

    def _supervise(self, running: _Running) -> None:
        if not running.lives():
            self._running = None
            if self._jobs.get(running.job_id).state == "running":
                self._died(running.job_id, running.describe_end(), again=not running.misconfigured)
            return
        if not self._jobs.get(running.job_id).stop_requested:
            return
        now = time.monotonic()
        running.stopping_since = running.stopping_since or now
        waited = now - running.stopping_since
        # The process reads the same flag between its steps; signals are for a step that hangs.
        if waited >= self._timing.kill:
            signal_group(running.pid, SIGKILL)
        elif waited >= self._timing.terminate:
            signal_group(running.pid, SIGTERM)

    def _launch(self, job: Job) -> None:
        folder = self._folder / job.id
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with (folder / LOG_NAME).open("ab") as log:
                # A session of its own, so that Ctrl-C at the server's terminal doesn't reach it.
                child = subprocess.Popen(  # noqa: S603 - the command line is the server's own
                    list(self._command(job.id)),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            self._jobs.finish(job.id, "failed", {}, f"its process can't be started: {error}")
            return
        # The process waits until the table has its PID, so this can't overwrite the result of a very short job.
        since = started(child.pid) or time.time()
        self._jobs.started(job.id, child.pid, since)
        self._running = _Running(job.id, child.pid, since, child)
        logger.info("job %s (%s %s) runs as process %d", job.id, job.kind, job.name, child.pid)

    def _died(self, job_id: str, how: str, again: bool = True) -> None:
        last = "\n".join(self.log_tail(job_id, 5))
        state = self._jobs.process_died(job_id, f"{how}\n{last}".strip(), again)
        logger.warning("job %s: %s; it is %s now", job_id, how, state)

    def _interrupt(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        signal_group(running.pid, SIGTERM)
        deadline = time.monotonic() + self._timing.terminate
        while running.lives() and time.monotonic() < deadline:
            time.sleep(0.02)
        if running.lives():
            signal_group(running.pid, SIGKILL)
        while running.lives():
            time.sleep(0.02)
        self._jobs.interrupted(running.job_id)


def log_tail(file: Path, lines: int) -> list[str]:
    """The last lines of a text file; none if it doesn't exist."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - 64 * 1024))
            return stream.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []
