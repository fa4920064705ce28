"""A server with nothing but a job runner, for tests that kill it: `python -m tests.learning.stub_server FOLDER`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from app.catalog.database import Database
from app.catalog.jobs import Jobs
from app.learning.runner import JobRunner, RunnerTiming


def main() -> None:
    folder = Path(sys.argv[1])
    catalog = folder / "catalog.sqlite"
    jobs = Jobs(Database.sqlite(catalog))
    command = lambda job_id: [sys.executable, "-m", "tests.learning.stub_job", str(catalog), job_id]  # noqa: E731
    JobRunner(jobs, folder / "jobs", command, RunnerTiming(poll=0.05)).start()
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
