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
from app.models.device import LONGEST_PROMPT


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    database = Database.sqlite(tmp_path / "catalog.sqlite")
    yield Jobs(database)
    database.close()


def test_a_job_waits_until_nobody_clicks(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.add("train", "m", {})
    touched = tmp_path / "interaction"
    slept: list[float] = []
    worked = 0.0

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 5:
            os.utime(touched, (0, time.time() - 60))

    control = Control(jobs, job.id, touched, 2.0, sleep, clock=lambda: worked + sum(slept))
    control.pause()
    assert slept == [], "nobody ever clicked"
    touched.touch()
    worked = 1.0
    control.pause()
    assert len(slept) == 5
    assert control.waited == pytest.approx(sum(slept))


class Clicking:
    """Somebody who clicks every `every` seconds, each click taking `takes`; time passes only in steps and pauses."""

    def __init__(self, touched: Path, every: float, takes: float) -> None:
        self.touched, self.every, self.takes = touched, every, takes
        self.now = 0.0
        touched.touch()
        self.go_on(0.0)

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        within = self.now % self.every
        ahead = LONGEST_PROMPT if within < self.takes else -(within - self.takes)
        os.utime(self.touched, (time.time() + ahead,) * 2)

    @property
    def runs(self) -> bool:
        return self.now % self.every < self.takes


def test_under_steady_clicking_a_job_keeps_a_tenth_of_its_pace_between_clicks(jobs: Jobs, tmp_path: Path) -> None:
    clicks = Clicking(tmp_path / "interaction", every=1.5, takes=0.5)
    control = Control(jobs, jobs.add("train", "m", {}).id, clicks.touched, 2.0, clicks.go_on, lambda: clicks.now)
    control.pause()
    begun, steps = clicks.now, 0
    while steps < 50:
        assert not clicks.runs, "a step begins between two clicks"
        clicks.go_on(0.2)
        control.pause()
        steps += 1
    assert 0.05 < 50 * 0.2 / (clicks.now - begun) <= 0.11
    assert control.waited == pytest.approx(clicks.now - 50 * 0.2)


def test_a_job_waits_through_a_click_however_long_it_takes(jobs: Jobs, tmp_path: Path) -> None:
    clicks = Clicking(tmp_path / "interaction", every=1000.0, takes=40.0)
    control = Control(jobs, jobs.add("train", "m", {}).id, clicks.touched, 2.0, clicks.go_on, lambda: clicks.now)
    control.pause()
    assert clicks.now >= 40


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
