"""Jobs, versions and cases with only what a test is about said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.core.case import Case
from app.core.job import Job
from app.core.model import ModelVersion
from app.web.dashboard.work import CaseName, name_of

CASE = name_of(Case("1.2.3", "series", "s", patient_id="P1", modality="CT", description="abdomen"))


def named(case_id: str) -> CaseName:
    return CaseName(case_id, case_id, "")


def at(text: str) -> float:
    """Seconds since the epoch of an ISO time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def a_job(**values: Any) -> Job:
    usual: dict[str, Any] = {
        "id": "j1",
        "kind": "train",
        "name": "segmentation",
        "state": "queued",
        "request": {"who": "anna"},
        "priority": 0,
        "progress": 0.0,
        "attempt": 0,
        "pid": None,
        "pid_started": None,
        "stop_requested": False,
        "created": at("2026-03-01T10:00:00"),
        "started": None,
        "ended": None,
        "result": {},
        "error": "",
    }
    return Job(**{**usual, **values})


def a_version(model: str, number: int, dice: float | None, state: str = "published", **values: Any) -> ModelVersion:
    metrics = {} if dice is None else {"best_metric": dice, "dice": {"liver": dice}, "validation_cases": 4}
    usual: dict[str, Any] = {
        "id": f"{model}-{number}",
        "model": model,
        "number": number,
        "parent": "",
        "folder": f"{model}/{number}",
        "sha256": "",
        "state": state,
        "reason": "because",
        "metrics": metrics,
        "label_ids": (),
        "licence": "",
        "job_id": "",
        "created": at("2026-03-01T10:00:00") + number,
    }
    return ModelVersion(**{**usual, **values})
