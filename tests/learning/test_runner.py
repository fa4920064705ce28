"""The job runner with real processes that end, fail, hang and are killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from signal import SIGKILL

import pytest

from app.catalog.database import Database
from app.catalog.jobs import MAX_ATTEMPTS, Jobs
from app.core.job import Job
from app.learning import processes
from app.learning.runner import JobRunner, RunnerTiming, log_tail

QUICK = RunnerTiming(poll=0.05, terminate=0.3, kill=0.6)


@dataclass
class Bench:
    """A catalog and runners over it."""

    folder: Path
    jobs: Jobs
    runners: list[JobRunner] = field(default_factory=list)

    def runner(self, patience: RunnerTiming = QUICK) -> JobRunner:
        catalog = self.folder / "catalog.sqlite"
        runner = JobRunner(
            self.jobs,
            self.folder / "jobs",
            lambda job_id: [sys.executable, "-m", "tests.learning.stub_job", str(catalog), job_id],
            patience,
        )
        self.runners.append(runner)
        runner.start()
        return runner

    def until(self, job_id: str, condition: Callable[[Job], bool], seconds: float = 30.0) -> Job:
        deadline = time.monotonic() + seconds
        while not condition(job := self.jobs.get(job_id)):
            assert time.monotonic() < deadline, f"still {job}"
            time.sleep(0.01)
        return job


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    database = Database.sqlite(tmp_path / "catalog.sqlite")
    bench = Bench(tmp_path, Jobs(database))
    yield bench
    for runner in bench.runners:
        runner.shutdown()
    database.close()


def ended(job: Job) -> bool:
    return not job.open


def test_a_job_runs_to_its_end_and_leaves_a_log(bench: Bench) -> None:
    job = bench.jobs.add("score", "m", {"steps": 3})
    runner = bench.runner()
    done = bench.until(job.id, ended)
    assert (done.state, done.progress, done.result) == ("done", 1.0, {"steps": 3, "attempt": 1})
    assert runner.log_tail(job.id) == ["attempt 1"]


def test_jobs_run_one_at_a_time_by_priority(bench: Bench) -> None:
    first = bench.jobs.add("score", "a", {"steps": 2})
    second = bench.jobs.add("score", "b", {"steps": 2})
    urgent = bench.jobs.add("segment", "c", {"steps": 2}, priority=5)
    bench.runner()
    rows = [bench.until(job.id, ended) for job in (urgent, first, second)]
    assert [row.state for row in rows] == ["done"] * 3
    for earlier, later in pairwise(rows):
        assert earlier.ended is not None
        assert later.started is not None
        assert earlier.ended <= later.started


def test_wake_starts_a_job_at_once(bench: Bench) -> None:
    runner = bench.runner(RunnerTiming(poll=600.0))
    time.sleep(0.2)
    job = bench.jobs.add("score", "m", {"steps": 1})
    runner.wake()
    bench.until(job.id, lambda j: j.state == "running")
    bench.until(job.id, ended)


def test_a_killed_process_is_started_again(bench: Bench) -> None:
    job = bench.jobs.add("train", "m", {"steps": 4, "die": 2})
    runner = bench.runner()
    done = bench.until(job.id, ended)
    assert (done.state, done.result["attempt"]) == ("done", 2)
    assert runner.log_tail(job.id) == ["attempt 1", "attempt 2"]


def test_a_process_that_always_dies_fails_in_the_end_with_its_last_words(bench: Bench) -> None:
    job = bench.jobs.add("train", "m", {"raise": True})
    bench.runner()
    failed = bench.until(job.id, ended, seconds=60)
    assert (failed.state, failed.attempt) == ("failed", MAX_ATTEMPTS)
    assert "exit code 1" in failed.error
    assert "the work went wrong" in failed.error


def test_a_process_that_can_not_work_as_configured_fails_at_once_with_its_reason(bench: Bench) -> None:
    job = bench.jobs.add("train", "m", {"exit": 2})
    bench.runner()
    failed = bench.until(job.id, ended)
    assert (failed.state, failed.attempt) == ("failed", 1)
    assert failed.error.splitlines()[-1] == "segloop: /data is no folder"


def test_another_exit_code_is_tried_again(bench: Bench) -> None:
    job = bench.jobs.add("train", "m", {"exit": 3})
    bench.runner()
    failed = bench.until(job.id, ended, seconds=60)
    assert (failed.state, failed.attempt) == ("failed", MAX_ATTEMPTS)


def test_a_command_that_does_not_exist_fails_the_job(bench: Bench) -> None:
    job = bench.jobs.add("score", "m", {})
    runner = JobRunner(bench.jobs, bench.folder / "jobs", lambda _: ["/nowhere/segloop"], QUICK)
    bench.runners.append(runner)
    runner.start()
    failed = bench.until(job.id, ended)
    assert failed.state == "failed"
    assert "can't be started" in failed.error


def test_a_job_stops_when_asked(bench: Bench) -> None:
    job = bench.jobs.add("train", "m", {"steps": 10_000})
    bench.runner(RunnerTiming(poll=0.05))
    bench.until(job.id, lambda j: j.progress > 0)
    bench.jobs.request_stop(job.id)
    stopped = bench.until(job.id, ended, seconds=5)
    assert stopped.state == "stopped"


def test_a_process_that_does_not_listen_is_killed(bench: Bench) -> None:
    job = bench.jobs.add("train", "m", {"steps": 10_000, "deaf": True})
    bench.runner()
    running = bench.until(job.id, lambda j: j.progress > 0)
    bench.jobs.request_stop(job.id)
    stopped = bench.until(job.id, ended)
    assert stopped.state == "stopped"
    assert running.pid is not None
    assert processes.started(running.pid) is None


def test_shutdown_ends_the_process_and_the_next_server_runs_the_job_again(bench: Bench) -> None:
    job = bench.jobs.add("train", "m", {"steps": 50})
    runner = bench.runner()
    running = bench.until(job.id, lambda j: j.progress > 0)
    runner.shutdown()
    queued = bench.jobs.get(job.id)
    assert (queued.state, queued.attempt) == ("queued", 0), "a restart of the server is not an attempt of the job"
    assert running.pid is not None
    assert processes.started(running.pid) is None
    bench.runner()
    assert bench.until(job.id, ended).result == {"steps": 50, "attempt": 1}


def test_a_job_outlives_its_killed_server_and_the_next_one_adopts_it(bench: Bench) -> None:
    job = bench.jobs.add("train", "m", {"steps": 100})
    after = bench.jobs.add("score", "m", {"steps": 1})
    server = subprocess.Popen([sys.executable, "-m", "tests.learning.stub_server", str(bench.folder)])
    running = bench.until(job.id, lambda j: j.progress > 0)
    server.send_signal(SIGKILL)
    server.wait()
    bench.runner()
    time.sleep(0.2)
    assert bench.jobs.get(after.id).state == "queued", "the adopted process counts as the one that runs"
    done = bench.until(job.id, ended)
    assert (done.state, done.pid, done.result["attempt"]) == ("done", running.pid, 1)
    assert bench.until(after.id, ended).state == "done"


def test_a_job_whose_process_went_with_its_server_is_queued_again(bench: Bench) -> None:
    job = bench.jobs.add("train", "m", {"steps": 2})
    bench.jobs.started(job.id, pid=2**22 + 1, pid_started=0.0)  # above the largest process number there is
    bench.runner()
    assert bench.until(job.id, ended).result["attempt"] == 2


def test_a_process_number_used_again_is_not_mistaken(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        since = processes.started(process.pid)
        assert since is not None
        assert abs(since - time.time()) < 5
        assert processes.alive(process.pid, since)
        assert not processes.alive(process.pid, since - 60)
        process.kill()
        time.sleep(0.1)
        assert processes.started(process.pid) is None, "a zombie is not alive"


def test_log_tail(tmp_path: Path) -> None:
    assert log_tail(tmp_path / "none.txt", 5) == []
    (tmp_path / "log.txt").write_text("\n".join(str(n) for n in range(20_000)))
    assert log_tail(tmp_path / "log.txt", 2) == ["19998", "19999"]
