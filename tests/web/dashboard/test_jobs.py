"""What the page says of a job in each state."""

from __future__ import annotations

from typing import Any

import pytest

from app.web.dashboard.learning import job_row
from tests.web.dashboard.values import a_job

EPOCHS = [
    {"epoch": 1, "total": 50, "metrics": {"loss": 0.9}},
    {"epoch": 2, "total": 50, "metrics": {"loss": 0.81234, "dice": 0.5}},
]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, ""),
        ({"attempt": 1}, "its process died; it goes on from its last checkpoint"),
        ({"state": "running"}, "epoch 2 of 50, loss 0.812, Dice 0.500"),
        ({"state": "running", "stop_requested": True}, "stops at its next step"),
        ({"state": "failed", "error": "Traceback\n  line 1\nBadInput: nothing to learn from\n"},
         "BadInput: nothing to learn from"),
        ({"state": "failed"}, "it failed without a word"),
        ({"state": "done", "result": {"version": "s-2", "state": "rejected", "reason": "worse"}},
         "s-2 rejected: worse"),
        ({"state": "done", "result": {"scored": 6, "left": 2, "version": "s-1"}},
         "6 cases scored by s-1, 2 left for later"),
        ({"state": "done", "result": {"scored": 6, "left": 0, "version": "s-1"}}, "6 cases scored by s-1"),
        ({"state": "done", "result": {"segmented": 3, "failed": {"x": "no"}, "version": "s-1"}},
         "3 cases segmented by s-1, 1 failed"),
        ({"state": "stopped"}, ""),
    ],
)  # fmt: skip
def test_message(values: dict[str, Any], message: str) -> None:
    assert job_row(a_job(**values), EPOCHS).message == message


def test_a_running_job_before_its_first_epoch() -> None:
    assert job_row(a_job(state="running"), []).message == ""


def test_row() -> None:
    row = job_row(a_job(state="done", started=100.0, ended=190.5, progress=1.0), [])
    assert (row.title, row.who, row.seconds, row.open, row.stopping) == (
        "Training segmentation",
        "anna",
        90.5,
        False,
        False,
    )
    stopping = job_row(a_job(state="running", stop_requested=True, started=100.0), [])
    assert (stopping.open, stopping.stopping, stopping.seconds) == (True, True, None)
