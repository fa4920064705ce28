"""The job table, which is authoritative for jobs in other processes.

queued ──> running ──> done | failed | stopped
   ^          │
   └──────────┘  its process died: queued again, and the next attempt resumes from the last checkpoint; with an invalid
                 configuration it fails at once
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa

from app.catalog.database import Database
from app.catalog.schema import job, job_event
from app.core.job import Job, JobKind, JobState
from app.errors import AlreadyRunning, UnknownJob

MAX_ATTEMPTS = 5
"""A job whose process dies this often fails permanently: it probably kills its process."""


class Jobs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, kind: JobKind, name: str, request: Mapping[str, Any], priority: int = 0, once: bool = True) -> Job:
        """Queue a job. With `once`, raises `AlreadyRunning` if one of the same kind and name is queued or running."""
        with self._database.write() as connection:
            if once:
                same = sa.select(job.c.id).where(
                    job.c.kind == kind, job.c.name == name, job.c.state.in_(["queued", "running"])
                )
                if connection.scalar(same.limit(1)):
                    raise AlreadyRunning(f"{kind} {name} is already running; stop it first or wait for it")
            values: dict[str, Any] = {"id": uuid.uuid4().hex, "kind": kind, "name": name, "request": dict(request)}
            values |= {"priority": priority, "state": "queued", "created": time.time(), "result": {}}
            connection.execute(sa.insert(job).values(**values))
            return _job(connection.execute(sa.select(job).where(job.c.id == values["id"])).one())

    def get(self, job_id: str) -> Job:
        with self._database.read() as connection:
            row = connection.execute(sa.select(job).where(job.c.id == job_id)).one_or_none()
        if row is None:
            raise UnknownJob(f"no job {job_id!r}")
        return _job(row)

    def listed(self, kind: JobKind | None = None, open_only: bool = False, limit: int = 100) -> list[Job]:
        """Newest first."""
        query = sa.select(job).order_by(job.c.number.desc()).limit(limit)
        if kind is not None:
            query = query.where(job.c.kind == kind)
        if open_only:
            query = query.where(job.c.state.in_(["queued", "running"]))
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def next_queued(self) -> Job | None:
        """The job to run next: highest priority, then oldest."""
        query = sa.select(job).where(job.c.state == "queued").order_by(job.c.priority.desc(), job.c.number).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return _job(row) if row is not None else None

    def started(self, job_id: str, pid: int, pid_started: float) -> None:
        with self._database.write() as connection:
            now = time.time()
            connection.execute(
                sa.update(job)
                .where(job.c.id == job_id)
                .values(
                    state="running",
                    pid=pid,
                    pid_started=pid_started,
                    attempt=job.c.attempt + 1,
                    started=sa.func.coalesce(job.c.started, now),
                )
            )

    def progress(self, job_id: str, done: float) -> bool:
        """Update a job's progress; returns whether a stop was requested."""
        with self._database.write() as connection:
            connection.execute(sa.update(job).where(job.c.id == job_id).values(progress=done))
            return bool(connection.scalar(sa.select(job.c.stop_requested).where(job.c.id == job_id)))

    def finish(self, job_id: str, state: JobState, result: Mapping[str, Any], error: str = "") -> None:
        """End a running job. A no-op if it has ended already."""
        values: dict[str, Any] = {"state": state, "ended": time.time(), "result": dict(result), "error": error[:4000]}
        if state == "done":
            values["progress"] = 1.0
        with self._database.write() as connection:
            connection.execute(
                sa.update(job).where(job.c.id == job_id, job.c.state.in_(["queued", "running"])).values(**values)
            )

    def process_died(self, job_id: str, error: str, again: bool = True) -> JobState:
        """The process ended without finishing the job: queue it again, or fail it after `MAX_ATTEMPTS`, or without
        `again` at once."""
        with self._database.write() as connection:
            row = connection.execute(sa.select(job).where(job.c.id == job_id, job.c.state == "running")).one_or_none()
            if row is None:
                return self.get(job_id).state
            state: JobState = "queued"
            if row.stop_requested:
                state = "stopped"
            elif not again or row.attempt >= MAX_ATTEMPTS:
                state = "failed"
            ended = None if state == "queued" else time.time()
            connection.execute(
                sa.update(job).where(job.c.id == job_id).values(state=state, pid=None, ended=ended, error=error[:4000])
            )
            return state

    def interrupted(self, job_id: str) -> None:
        """The server stopped the job for its own shutdown: queue it again, without counting the attempt."""
        with self._database.write() as connection:
            running = sa.and_(job.c.id == job_id, job.c.state == "running")
            connection.execute(
                sa.update(job)
                .where(running, job.c.stop_requested.is_(True))
                .values(state="stopped", pid=None, ended=time.time())
            )
            connection.execute(
                sa.update(job).where(running).values(state="queued", pid=None, attempt=job.c.attempt - 1)
            )

    def request_stop(self, job_id: str) -> Job:
        """Request a stop: a queued job stops at once, a running one at its next step."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(job)
                .where(job.c.id == job_id, job.c.state == "queued")
                .values(state="stopped", ended=time.time())
            )
            connection.execute(sa.update(job).where(job.c.id == job_id).values(stop_requested=True))
        return self.get(job_id)

    def note(self, job_id: str, kind: Literal["log", "epoch"], data: Mapping[str, Any]) -> None:
        with self._database.write() as connection:
            row = {"job_id": job_id, "time": time.time(), "kind": kind, "data": dict(data)}
            connection.execute(sa.insert(job_event).values(**row))

    def events(
        self, job_id: str, after: int = 0, kind: str | None = None
    ) -> Sequence[tuple[int, str, Mapping[str, Any]]]:
        """`(id, kind, data)` of a job's events with an id above `after`, in order."""
        query = sa.select(job_event).where(job_event.c.job_id == job_id, job_event.c.id > after)
        if kind is not None:
            query = query.where(job_event.c.kind == kind)
        with self._database.read() as connection:
            return [(r.id, r.kind, r.data) for r in connection.execute(query.order_by(job_event.c.id))]


def _job(row: sa.Row[Any]) -> Job:
    return Job(**{name: row._mapping[name] for name in Job.__dataclass_fields__})
