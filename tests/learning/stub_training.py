"""A training process over the phantoms, for tests that kill it: `python -m tests.learning.stub_training FOLDER JOB_ID
[MODEL]`, where MODEL is JSON for the model's settings.

Everything is as in the real one, apart from the archive, which is made anew in memory, and from its niceness, which on
a busy machine would make the test take minutes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from app.learning import job_process
from tests.learning import phantoms

CASES = 6


def main() -> int:
    job_process.NICENESS = 0
    model = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    return job_process.run_job(sys.argv[2], phantoms.settings(Path(sys.argv[1]), **model), phantoms.archive(CASES))


if __name__ == "__main__":
    sys.exit(main())
