"""The training job: runs a trainer on labels, and publishes the candidate if the gate accepts it.

The first attempt fixes everything that the result depends on: the labels, the parent, the spec and the number of
epochs. So a killed run resumes with the same result as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from app.core.job import Job
from app.core.model import ModelVersion, best_version
from app.core.training import TrainingRun
from app.durable import write_durably
from app.errors import BadInput
from app.learning.base import parent_of
from app.learning.checkpoints import Checkpoints
from app.learning.control import Control
from app.learning.dataset import Labelled, halves, labelled_cases, learnable, prepare, split
from app.learning.evaluate import evaluate
from app.learning.gate import Measured, Rule, Verdict, judge
from app.learning.publish import Outcome, publish
from app.learning.reservation import reserve_patients
from app.models.device import Device
from app.models.trained.spec import Version, read_version
from app.project.open_models import build_model, model_type, served_version
from app.project.project import Project
from app.project.trainers import check_spec, trainer_of
from app.workspace import safe_name

TRAINED = 0.9
"""The progress of a job after its last epoch; measuring and publishing are the rest."""


@dataclass(frozen=True)
class Plan:
    """The inputs of a run, fixed by the job's first attempt. `started` is in seconds since the epoch. `reserved` are
    patients for validation besides those of the fold."""

    label_ids: tuple[int, ...]
    parent: str
    epochs: int
    started: float
    reserved: tuple[str, ...] = ()

    @classmethod
    def of(cls, project: Project, job: Job, folder: Path) -> Plan:
        file = folder / "plan.json"
        if file.exists():
            content = json.loads(file.read_text())
            lists = {name: tuple(content[name]) for name in ("label_ids", "reserved") if name in content}
            return cls(**{**content, **lists})
        parent = parent_of(project, job.name)
        cases = labelled_cases(project)
        plan = cls(
            label_ids=tuple(one.label.id for one in cases),
            parent=parent.id if parent is not None else "",
            epochs=int(job.request.get("max_epochs") or project.settings.learning.epochs),
            started=time.time(),
            reserved=tuple(sorted(reserve_patients(project, cases))),
        )
        write_durably(file, lambda stream: stream.write(json.dumps(asdict(plan)).encode()))
        return plan


def train(project: Project, job: Job, control: Control) -> Mapping[str, Any]:
    """Train, measure, publish. The result has the version's metrics and id, and the gate's verdict.

    Raises `BadInput` without usable labels, `ConfigurationError` for a model without a trainer.
    """
    made = project.catalog.versions.by_job(job.id)
    if made is not None:
        return _result(made)
    folder = project.paths.jobs / job.id
    plan = Plan.of(project, job, folder)
    parent = project.catalog.versions.get(plan.parent) if plan.parent else None
    checkpoints, run, validation = _begin(project, job, control, plan, parent, folder)
    _train(project, job, control, checkpoints, run)

    candidate = checkpoints.finish(run.spec)
    new = _measure(project, job, candidate, candidate.spec.labels, validation, control)
    verdict = _judged(project, job, new, validation, control)
    metrics = _metrics(plan, checkpoints, run, new)
    version = publish(project, job, candidate, Outcome(metrics, plan.label_ids, parent, verdict))
    checkpoints.clear()
    return _result(version)


def _begin(
    project: Project, job: Job, control: Control, plan: Plan, parent: ModelVersion | None, folder: Path
) -> tuple[Checkpoints, TrainingRun, Sequence[Labelled]]:
    """Everything that a trainer needs, resumed from the last attempt."""
    cases = labelled_cases(project, plan.label_ids)
    labels = learnable(project.settings.labels.structures, cases)
    if not labels:
        known = ", ".join(project.settings.labels.structures)
        raise BadInput(f"no final label has one of the structures that this project labels: {known}")
    checkpoints = _checkpoints(project, job, plan, folder)
    parent_version = read_version(project.paths.models / parent.folder) if parent is not None else None
    proposed = trainer_of(project, job.name, job.request).spec(labels, parent_version.spec if parent_version else None)
    check_spec(project, job.name, proposed)
    spec = checkpoints.spec(proposed)
    # Equal labels and parent give an equal model.
    seed = int(hashlib.sha256(f"{job.name} {plan.parent} {plan.label_ids}".encode()).hexdigest()[:8], 16)
    device = Device(project.settings.device, threads=project.settings.threads or None).torch_name
    network = checkpoints.network(spec, parent_version, seed).to(device)

    usable = [one for one in cases if one.label.examined.intersection(spec.labels)]
    by_patient = [(one.row.case.patient_key, one) for one in usable]
    learn, validation = split(by_patient, project.settings.learning.validation_fold, plan.reserved)
    if not learn:
        raise BadInput("every labelled case is of a patient kept for validation; label a case of another patient")
    prepared = project.paths.cache / "prepared" / safe_name(job.name)
    train_on, problems = prepare(project, prepared / "train", learn, spec, control.pause)
    for_epoch, for_gate = halves(
        [(one.row.case.patient_key, one) for one in validation], project.settings.learning.gate_patients
    )
    validate_on, more = prepare(project, prepared / "validate", for_epoch, spec, control.pause)
    for case_id, problem in {**problems, **more}.items():
        project.catalog.jobs.note(job.id, "log", {"case": case_id, "left_out": problem})
    if len(train_on) == 0:
        raise BadInput(f"none of the labelled cases can be read: {'; '.join(problems.values())[:500]}")
    run = TrainingRun(
        spec=spec,
        network=network,
        device=device,
        train=train_on,
        validate=validate_on,
        epochs=plan.epochs,
        seed=seed,
        pause=control.pause,
        resume=checkpoints.done.state,
        options=dict(job.request),
    )
    return checkpoints, run, for_gate


def _checkpoints(project: Project, job: Job, plan: Plan, folder: Path) -> Checkpoints:
    type_ = model_type(project, job.name)
    if type_.base is None:
        return Checkpoints(folder, plan.epochs, project.settings.learning.snapshots)
    build = partial(type_.base.network, store=project.paths.models / job.name)
    # Nothing scores with snapshots of these, and official weights are large.
    return Checkpoints(folder, plan.epochs, 0, build)


def _train(project: Project, job: Job, control: Control, checkpoints: Checkpoints, run: TrainingRun) -> None:
    since = time.monotonic()
    for epoch in trainer_of(project, job.name, job.request).train(run):
        done = checkpoints.keep(epoch, run.network)
        seconds, since = time.monotonic() - since, time.monotonic()
        data = {"epoch": epoch.number, "total": epoch.total, "metrics": dict(epoch.metrics)}
        project.catalog.jobs.note(job.id, "epoch", {**data, "seconds": seconds, "best_metric": done.best})
        control.progress(TRAINED * epoch.number / epoch.total)


def _measure(
    project: Project, job: Job, version: Version, names: Sequence[str], cases: Sequence[Labelled], control: Control
) -> Measured:
    device = Device(project.settings.device, threads=project.settings.threads or None)
    model = build_model(project, job.name, device, version.folder)
    return evaluate(model, cases, names, project, control.pause)


def _judged(
    project: Project, job: Job, candidate: Measured, validation: Sequence[Labelled], control: Control
) -> Verdict:
    """The gate's verdict against the served version, and against the best one so far: a chain of versions, each a
    little worse than the one before, must not pass."""
    learning = project.settings.learning
    rule = Rule(learning.tolerance, learning.class_tolerance, learning.gate_patients)
    # Not the parent: while this was training, a person may have served another version.
    served = served_version(project, job.name)
    if served is None:
        return judge(candidate, None, rule)

    def against(version: ModelVersion) -> Verdict:
        stored = read_version(project.paths.models / version.folder)
        # A base segments whatever is clicked on, and was trained on none of the structures.
        names = stored.spec.labels if model_type(project, job.name).base is None else tuple(candidate.dice)
        return judge(candidate, _measure(project, job, stored, names, validation, control), rule)

    verdict = against(served)
    best = best_version(project.catalog.versions.listed(job.name), served)
    if not verdict.publish or best.id == served.id:
        return verdict
    other = against(best)
    return verdict if other.publish else Verdict(False, f"compared with {best.id}, the best so far: {other.reason}")


def _metrics(plan: Plan, checkpoints: Checkpoints, run: TrainingRun, measured: Measured) -> dict[str, Any]:
    """The `metrics` of the model version, as JSON (docs/api.md)."""
    seconds = int(time.time() - plan.started)
    # Left out if nothing could be measured: viewers would show 0 as the accuracy.
    best = {"best_metric": measured.mean, "best_metric_epoch": checkpoints.done.best_epoch} if measured.cases else {}
    after_clicks = {str(number): value for number, value in measured.after_clicks.items()}
    by_clicks = {"dice_after_clicks": after_clicks} if after_clicks else {}
    return {
        "epoch": checkpoints.done.epoch,
        "total_epochs": plan.epochs,
        "start_ts": datetime.fromtimestamp(plan.started).strftime("%Y-%m-%d %H:%M:%S"),
        "total_time": str(timedelta(seconds=seconds)),
        **best,
        **by_clicks,
        "dice": dict(measured.dice),
        "training_cases": len(run.train),
        "validation_cases": measured.cases,
    }


def _result(version: ModelVersion) -> dict[str, Any]:
    said = {"version": version.id, "state": version.state, "reason": version.reason}
    return {**version.metrics, **said}
