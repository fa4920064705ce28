"""A training process over the phantoms, for tests that kill it: `python -m tests.learning.stub_training FOLDER JOB_ID`.

Everything is as in the real one, apart from the archive, which is made anew in memory. Steps are slow enough to be
killed between.
"""

from __future__ import annotations

import sys
from pathlib import Path

from app.learning.job_process import run_job
from tests.learning import phantoms

CASES = 6


def main() -> int:
    return run_job(sys.argv[2], phantoms.settings(Path(sys.argv[1])), phantoms.archive(CASES))


if __name__ == "__main__":
    sys.exit(main())
