"""A job's process: waits until the job table has its PID, does the work, and records the result."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from app.catalog.jobs import Jobs
from app.core.archive import Archive
from app.core.job import Job, JobKind
from app.errors import Cancelled, SegloopError
from app.learning.control import Control
from app.project.project import Project
from app.settings import Settings

logger = logging.getLogger(__name__)

Work = Callable[[Project, Job, Control], Mapping[str, Any]]
"""Does a job and returns its result as JSON. Raises `Cancelled` if a stop was requested."""

NICENESS = 10
_NAMED_WITHIN = 30.0


def run_job(job_id: str, settings: Settings, archive: Archive | None = None) -> int:
    """Run the job for which the server started this process. Returns the exit code.

    Does nothing if the table doesn't have this PID: then the server was stopped, and the next one starts the job again.
    `archive` replaces that of the settings.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.nice(NICENESS)
    project = Project.open(settings, archive)
    try:
        job = _named(project.catalog.jobs, job_id, os.getpid())
        if job is None:
            logger.error("the job table doesn't name process %d for job %s; leaving", os.getpid(), job_id)
            return 1
        return _finish(project, job, _work(job.kind))
    finally:
        project.close()


def _named(jobs: Jobs, job_id: str, pid: int) -> Job | None:
    deadline = time.monotonic() + _NAMED_WITHIN
    while time.monotonic() < deadline:
        job = jobs.get(job_id)
        if job.state == "running" and job.pid == pid:
            return job
        if not job.open:
            return None
        time.sleep(0.05)
    return None


def _finish(project: Project, job: Job, work: Work) -> int:
    jobs = project.catalog.jobs
    control = Control(jobs, job.id, project.paths.interaction, project.settings.learning.pause_seconds)
    logger.info("job %s: %s %s, attempt %d", job.id, job.kind, job.name, job.attempt)
    try:
        control.progress(job.progress)  # that of the previous attempt
        result = work(project, job, control)
    except Cancelled as error:
        logger.info("stopped: %s", error)
        jobs.finish(job.id, "stopped", {}, str(error))
        return 0
    except SegloopError as error:
        logger.error("failed: %s", error)
        jobs.finish(job.id, "failed", {}, str(error))
        return 1
    except Exception as error:
        logger.exception("failed")
        jobs.finish(job.id, "failed", {}, f"{type(error).__name__}: {error}")
        return 1
    jobs.finish(job.id, "done", result)
    logger.info("done: %s", result)
    return 0


def _work(kind: JobKind) -> Work:
    # Imported here, so that a job loads only the modules that it needs.
    if kind == "train":
        from app.learning.training import train

        return train
    if kind == "score":
        from app.learning.scoring import score

        return score
    from app.learning.batch import segment_cases

    return segment_cases
