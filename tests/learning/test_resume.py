"""A training process that is killed goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.core.job import Job
from app.learning.control import Control
from app.learning.dataset import is_validation
from app.learning.runner import JobRunner, RunnerTiming
from app.learning.training import train
from app.project.project import Project
from tests.learning import phantoms, stub_training
from tests.models.folders import tiny_nninteractive

EPOCHS = 8


@pytest.mark.parametrize("type_", ["segmentation", pytest.param("nninteractive", marks=pytest.mark.long)])
def test_a_killed_run_goes_on_with_the_same_losses(tmp_path: Path, type_: str) -> None:
    model: dict[str, Any] = {}
    if type_ == "nninteractive":
        source = str(tiny_nninteractive(tmp_path / "tiny"))
        options = {"batch": 1, "steps_per_epoch": 4, "clicks": 1}
        model = {"type": type_, "trainer": type_, "source": source, "patches": 0, "options": options}
    project, job = _queued(tmp_path / "straight", model)
    project.catalog.jobs.started(job.id, os.getpid(), 0.0)
    train(project, job, Control(project.catalog.jobs, job.id, project.paths.interaction, pause_seconds=0))
    straight = _losses(project, job)
    project.close()

    project, job = _queued(tmp_path / "killed", model)
    resumed, attempts = _killed_once(project, job, tmp_path / "killed", model)
    assert attempts == 2, "the run was over before it was killed; make it longer"
    # The kill may fall between an epoch's checkpoint and its event.
    assert len(straight) == EPOCHS
    assert EPOCHS - 1 <= len(resumed) <= EPOCHS
    for epoch, loss in resumed.items():
        assert loss == pytest.approx(straight[epoch], rel=1e-5), f"epoch {epoch}"
    project.close()


def _queued(folder: Path, model: Mapping[str, Any]) -> tuple[Project, Job]:
    project = phantoms.project(phantoms.settings(folder, **model), stub_training.CASES)
    learn = [seed for seed in range(stub_training.CASES) if not is_validation(f"patient-{seed}", 5)]
    for seed in learn[:2]:
        phantoms.submit(project, seed)
    return project, project.catalog.jobs.add("train", "segmentation", {"max_epochs": EPOCHS})


def _losses(project: Project, job: Job) -> dict[int, float]:
    events = project.catalog.jobs.events(job.id, kind="epoch")
    return {data["epoch"]: data["metrics"]["loss"] for _, _, data in events}


def _killed_once(project: Project, job: Job, folder: Path, model: Mapping[str, Any]) -> tuple[dict[int, float], int]:
    """Loss by epoch of a run in a process of its own that is killed after two epochs, and how often it was started."""
    jobs = project.catalog.jobs
    command = [sys.executable, "-m", "tests.learning.stub_training", str(folder)]
    runner = JobRunner(
        jobs, project.paths.jobs, lambda job_id: [*command, job_id, json.dumps(model)], RunnerTiming(poll=0.05)
    )
    runner.start()
    deadline = time.monotonic() + 240
    try:
        while len(_losses(project, job)) < 2:
            assert time.monotonic() < deadline, runner.log_tail(job.id)
            time.sleep(0.005)
        pid = jobs.get(job.id).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while (ended := jobs.get(job.id)).open:
            assert time.monotonic() < deadline, runner.log_tail(job.id)
            time.sleep(0.05)
        assert ended.state == "done", (ended.error, runner.log_tail(job.id))
        return _losses(project, job), ended.attempt
    finally:
        runner.shutdown()
