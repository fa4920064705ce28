"""Training, scoring and batch inference as tasks (docs/protocols/monailabel.md, section 9)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Request

from app.core.job import Job, JobKind
from app.dialects.monailabel.routes import caller, route
from app.errors import AlreadyRunning
from app.http.routes import JsonRoute
from app.services import Services
from app.services.jobs import JobService

Options = Annotated[dict[str, Any] | None, Body()]

_STATUS = {"queued": "SUBMITTED", "running": "RUNNING", "done": "DONE", "failed": "ERROR", "stopped": "STOPPED"}


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["tasks"], route_class=JsonRoute)
    _add_training(api, services)
    _add_scoring(api, services)
    _add_batch(api, services)
    for kind, path in _PATHS.items():
        _add_watching(api, services.jobs, kind, path)
    return api


_PATHS: dict[JobKind, str] = {"train": "/train/", "score": "/scoring/", "segment": "/batch/infer"}


def _add_training(api: APIRouter, services: Services) -> None:
    jobs = services.jobs

    @route(api, "POST", "/train/{model}")
    def train(
        request: Request, model: str, options: Options = None, run_sync: bool = False, enqueue: bool = False
    ) -> dict[str, Any]:
        """Train one model."""
        given = options or {}
        job = jobs.train(model, given, caller(request, given.get("client_id")), enqueue)
        return _stats_at_end(jobs, job) if run_sync else _task(jobs, job)

    @route(api, "POST", "/train/")
    def train_all(request: Request, options: Options = None, run_sync: bool = False) -> dict[str, Any]:
        """Run the named trainers, each with its options; all of them if none is named."""
        given = options or {}
        who = caller(request, given.get("client_id"))

        def start(trainer: str) -> Job:
            # Different jobs queue up; the same job twice is most likely a double click.
            if any(job.name == trainer for job in jobs.open("train")):
                raise AlreadyRunning(f"training of {trainer} is already running or waiting")
            return jobs.train(trainer, _object(given.get(trainer)), who, enqueue=True)

        return _several(jobs, [n for n in jobs.trainers() if n in given] or list(jobs.trainers()), start, run_sync)


def _add_scoring(api: APIRouter, services: Services) -> None:
    jobs = services.jobs

    @route(api, "POST", "/scoring/{method}")
    def score(request: Request, method: str, options: Options = None, run_sync: bool = False) -> dict[str, Any]:
        """Score unlabelled cases with one method."""
        given = options or {}
        job = jobs.score(method, given, caller(request, given.get("client_id")))
        return dict(jobs.wait(job).result) if run_sync else _task(jobs, job)

    @route(api, "POST", "/scoring/")
    def score_all(request: Request, options: Options = None, run_sync: bool = False) -> dict[str, Any]:
        """Score with the named methods; with all of them if none is named."""
        given = options or {}
        who = caller(request, given.get("client_id"))
        named = [n for n in jobs.scorers() if n in given] or list(jobs.scorers())
        return _several(jobs, named, lambda method: jobs.score(method, _object(given.get(method)), who), run_sync)


def _add_batch(api: APIRouter, services: Services) -> None:
    jobs = services.jobs

    @route(api, "POST", "/batch/infer/{model}")
    def batch(
        request: Request, model: str, options: Options = None, images: str = "all", run_sync: bool = False
    ) -> dict[str, Any]:
        """Segment many cases with an automatic model; the results become labels tagged `original`."""
        given = options or {}
        job = jobs.segment(model, images, given, caller(request, given.get("client_id")))
        return dict(jobs.wait(job).result) if run_sync else _task(jobs, job)


def _add_watching(api: APIRouter, jobs: JobService, kind: JobKind, path: str) -> None:
    @route(api, "GET", path)
    def status(all: bool = False, check_if_running: bool = False) -> Any:
        """The running task, else the newest one. With `check_if_running` only a running one, with `all` a list. Jobs
        survive a restart, so that a polling viewer doesn't get an unexpected 404.

        A waiting task (for scoring to end, or after a restart) is reported as running: at any other status Slicer stops
        polling and shows 100 % (docs/protocols/monailabel.md, section 9).
        """
        if all:
            listed = [_task(jobs, job) for job in jobs.all(kind)]
            return listed or _nothing(kind)
        job = jobs.current(kind)
        if job is None or (check_if_running and not job.open):
            return _nothing(kind)
        return {**_task(jobs, job), "status": "RUNNING"} if job.open else _task(jobs, job)

    @route(api, "DELETE", path)
    def stop(request: Request) -> dict[str, Any] | None:
        """Stop running and waiting tasks; null if there are none."""
        job = jobs.stop(kind, caller(request, ""))
        return None if job is None else _task(jobs, job)


def _task(jobs: JobService, job: Job) -> dict[str, Any]:
    """A job in the protocol's format. `details` has at least one line, because Slicer reads the last one.

    Protocol: docs/protocols/monailabel.md, section 9.
    """
    task = {
        "id": job.id,
        "status": _STATUS[job.state],
        "request": {"model": job.name, **job.request},
        "start_ts": _local(job.started or job.created),
        "details": jobs.log(job) or [job.error or _STATUS[job.state].lower()],
    }
    return task if job.ended is None else {**task, "end_ts": _local(job.ended)}


def _local(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _several(jobs: JobService, names: list[str], start: Callable[[str], Job], run_sync: bool) -> dict[str, Any]:
    """The result for each name: a task, or the error."""
    started: dict[str, Any] = {}
    for name in names:
        try:
            job = start(name)
        except AlreadyRunning as error:
            started[name] = {"result": None, "detail": str(error)}
            continue
        started[name] = {"result": _task(jobs, jobs.wait(job) if run_sync else job), "detail": None}
    return started


def _stats_at_end(jobs: JobService, job: Job) -> dict[str, Any]:
    ended = jobs.wait(job)
    return dict(ended.result) if ended.state == "done" else _task(jobs, ended)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _nothing(kind: JobKind) -> Any:
    raise HTTPException(404, detail=f"no {kind} task")
