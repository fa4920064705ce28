"""A job process for tests of the runner: `python -m tests.learning.stub_job CATALOG JOB_ID`.

What it does is in the job's request: "steps" steps of 20 ms, each noted as a progress; "die": kill itself at that step,
in the first attempt only; "deaf": ignore the wish to stop and SIGTERM; "exit": say why and end with that code.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from app.catalog.database import Database
from app.catalog.jobs import Jobs


def main() -> int:
    jobs = Jobs(Database.sqlite(Path(sys.argv[1])))
    job_id = sys.argv[2]
    while (job := jobs.get(job_id)).pid != os.getpid() or job.state != "running":
        time.sleep(0.01)
    deaf = bool(job.request.get("deaf"))
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(f"attempt {job.attempt}", flush=True)
    if job.request.get("raise"):
        raise RuntimeError("the work went wrong")
    if "exit" in job.request:
        print("segloop: /data is no folder", file=sys.stderr)
        return int(job.request["exit"])
    steps = int(job.request.get("steps", 1))
    for step in range(steps):
        if job.request.get("die") == step and job.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if jobs.progress(job_id, step / steps) and not deaf:
            jobs.finish(job_id, "stopped", {})
            return 0
        time.sleep(0.02)
    jobs.finish(job_id, "done", {"steps": steps, "attempt": job.attempt})
    return 0


if __name__ == "__main__":
    sys.exit(main())
