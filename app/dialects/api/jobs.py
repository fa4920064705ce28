"""Training and scoring: starting, watching, stopping."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from app.core.job import Job, JobKind
from app.dialects.api.people import Asking
from app.dialects.api.responses import text
from app.dialects.api.shapes.jobs import JobRequest, JobShape
from app.services import Services


def add(api: APIRouter, services: Services) -> None:
    desk = services.jobs

    @api.get("/jobs", summary="List jobs")
    def listed(kind: JobKind | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[JobShape]:
        """Newest first."""
        return [shape_of(services, job) for job in desk.newest(kind, limit)]

    @api.post("/jobs", summary="Train a model, or score cases with it", status_code=201)
    def started(asked: JobRequest, asking: Asking) -> JobShape:
        """429 if one of that kind runs already."""
        start = desk.train if asked.kind == "train" else desk.score
        return shape_of(services, start(asked.model, asked.options, asking.who))

    @api.get("/jobs/{job_id}", summary="One job")
    def one(job_id: str) -> JobShape:
        return shape_of(services, desk.get(job_id))

    @api.delete("/jobs/{job_id}", summary="Stop a job", status_code=202)
    def stopped(job_id: str) -> JobShape:
        """One that waits stops at once, one that runs at its next step; one that is over stays as it is."""
        return shape_of(services, desk.stop_one(job_id))

    @api.get(
        "/jobs/{job_id}/log", summary="A job's log", response_class=PlainTextResponse, responses=text("text/plain")
    )
    def log(job_id: str, lines: Annotated[int, Query(ge=1, le=10_000)] = 1000) -> PlainTextResponse:
        """The last lines that it wrote."""
        return PlainTextResponse("".join(f"{line}\n" for line in desk.log(desk.get(job_id), lines)))


def shape_of(services: Services, job: Job) -> JobShape:
    return JobShape.of(job, services.jobs.epochs(job) if job.kind == "train" else [])
