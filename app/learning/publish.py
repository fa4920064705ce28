"""Publishing a finished run as a model version: an immutable folder, and a row that refers to it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.job import Job
from app.core.model import ModelVersion
from app.durable import flush, write_durably
from app.learning.gate import Verdict
from app.models.trained.spec import Version
from app.project.project import Project


@dataclass(frozen=True)
class Outcome:
    """The result of a run besides its weights."""

    metrics: Mapping[str, Any]
    label_ids: Sequence[int]
    parent: ModelVersion | None
    verdict: Verdict


def publish(project: Project, job: Job, candidate: Version, outcome: Outcome) -> ModelVersion:
    """Move a candidate's folder into the model store and register it: as served if the gate accepted it, else as
    rejected. Idempotent per job."""
    versions = project.catalog.versions
    made = versions.by_job(job.id)
    if made is not None:
        return made
    number = versions.next_number(job.name)
    folder = project.paths.models / job.name / str(number)
    metrics = json.dumps(outcome.metrics, indent=1).encode()
    write_durably(candidate.folder / "metrics.json", lambda file: file.write(metrics))
    if folder.exists():
        shutil.rmtree(folder)  # an orphan of a run that was killed before it registered its version
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Copied, so that a run that is killed before the next line still has its candidate.
    partial = folder.with_name(f".{number}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(candidate.folder, partial)
    for file in partial.iterdir():
        flush(file)
    partial.rename(folder)
    flush(folder.parent)
    version = ModelVersion(
        id=f"{job.name}-{number}",
        model=job.name,
        number=number,
        parent=outcome.parent.id if outcome.parent is not None else "",
        folder=str(folder.relative_to(project.paths.models)),
        sha256=candidate.sha256,
        state="published" if outcome.verdict.publish else "rejected",
        reason=outcome.verdict.reason,
        metrics=outcome.metrics,
        label_ids=outcome.label_ids,
        licence=outcome.parent.licence if outcome.parent is not None else "",
        job_id=job.id,
        created=time.time(),
    )
    versions.add(version, serve=outcome.verdict.publish, who=str(job.request.get("who", "")) or "job")
    return version
