"""Giving way to people, and stopping."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.catalog.database import Database
from app.catalog.jobs import Jobs
from app.errors import Cancelled
from app.learning.control import Control


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    database = Database.sqlite(tmp_path / "catalog.sqlite")
    yield Jobs(database)
    database.close()


def test_a_job_waits_until_nobody_clicks(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.add("train", "m", {})
    touched = tmp_path / "interaction"
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 5:
            os.utime(touched, (0, time.time() - 60))

    control = Control(jobs, job.id, touched, 2.0, sleep)
    control.pause()
    assert slept == [], "nobody ever clicked"
    touched.touch()
    control.pause()
    assert len(slept) == 5
    assert control.waited == pytest.approx(sum(slept))


def test_a_waiting_job_can_be_stopped(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.add("train", "m", {})
    jobs.started(job.id, 1, 0.0)
    touched = tmp_path / "interaction"
    touched.touch()

    def sleep(seconds: float) -> None:
        jobs.request_stop(job.id)
        time.sleep(0.6)

    with pytest.raises(Cancelled):
        Control(jobs, job.id, touched, 60.0, sleep).pause()


def test_progress_is_written_at_most_twice_a_second(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.add("train", "m", {})
    jobs.started(job.id, 1, 0.0)
    control = Control(jobs, job.id, tmp_path / "interaction", 0.0)
    control.progress(0.1)
    control.progress(0.2)
    assert jobs.get(job.id).progress == 0.1
    time.sleep(0.55)
    control.progress(1.7)
    assert jobs.get(job.id).progress == 1.0
