"""The scoring job: a model's uncertainty about unlabelled cases, within a time budget.

One forward pass over a case gives `entropy:<model>` and the model's mask, which is kept as the case's pre-annotation.
`epistemic:<model>` needs one more pass for each snapshot of the training run, and is computed only if it is asked for.
Stale scores, of earlier versions, are nearly as good as fresh ones, so the highest of them are updated first. A job
has a budget; further jobs of the same version go on until every case has a score (`app.services.schedule`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Mapping, Sequence
from itertools import chain
from typing import Any, cast

from app.core.case import CaseRow
from app.core.job import Job
from app.core.mask import Mask
from app.core.model import ProbabilisticModel
from app.core.pool import Candidate, Score
from app.core.volume import Volume
from app.errors import ArchiveUnavailable, Cancelled, ModelNotTrained, NotSupported, SegloopError
from app.learning.control import Control
from app.learning.review import REVIEW, review
from app.learning.uncertainty import Summary, entropy, mutual_information, summarise, where_to_look
from app.models.device import Device
from app.project.open_models import model_type, open_model
from app.project.project import Project

logger = logging.getLogger(__name__)

ENTROPY, EPISTEMIC = "entropy", "epistemic"
_HARD = 0.3
"""The share of stale scores, the highest ones, that is updated before the others."""


def score(project: Project, job: Job, control: Control) -> Mapping[str, Any]:
    """Score unlabelled cases with the model `job.name`; cases that its served version has scored are skipped.

    Options of the request: `scorers`, by default `entropy` only; `review` alone compares the labels of labelled cases
    with the model instead (`app.learning.review`). The result counts the cases `scored` and `left`, and lists those
    that `failed`: further jobs of the same version try them last.

    Raises `UnknownModel`, `NotSupported`, `ModelNotTrained`, `ArchiveUnavailable`.
    """
    device = Device(project.settings.device, threads=project.settings.threads or None)
    if not model_type(project, job.name).scored:
        raise NotSupported(f"{job.name} gives no probabilities, so it can't score cases")
    model = cast(ProbabilisticModel, open_model(project, job.name, device))
    if not model.card.ready:
        raise ModelNotTrained(f"{job.name} has no weights yet", retry_after=60)
    served = project.catalog.versions.served(job.name)
    version = served.id if served is not None else model.card.version
    scorers = scorers_of(job)
    if REVIEW in scorers:
        return review(project, model, version, _failed(project, job.name, version), control)
    members = [model, *model.snapshots()] if EPISTEMIC in scorers else [model]

    waiting = (one.case_id for one in project.catalog.cases.candidates())
    project.preannotations.prune(job.name, model.card.version, waiting)
    todo = unscored(project, job.name, version, scorers)
    todo = in_order(
        todo, project.catalog.scores.dated(f"{scorers[-1]}:{job.name}"), _failed(project, job.name, version)
    )
    budget = todo[: project.settings.learning.score_cases]
    until = time.monotonic() + project.settings.learning.score_seconds
    done, failed = 0, []
    for count, candidate in enumerate(budget):
        control.pause()
        control.progress(count / len(budget))
        if time.monotonic() - control.waited > until:
            break
        try:
            _score_case(project, project.catalog.cases.get(candidate.case_id), members, version, job.name, control)
            done += 1
        except (Cancelled, ArchiveUnavailable):
            raise
        except SegloopError as error:
            logger.warning("case %s can't be scored: %s", candidate.case_id, error)
            failed.append(candidate.case_id)
    result = {"scored": done, "left": len(todo) - done, "version": version, "members": len(members)}
    return {**result, "failed": failed}


def scorers_of(job: Job) -> tuple[str, ...]:
    """The scorers that a scoring job is for."""
    return tuple(job.request.get("scorers") or (ENTROPY,))


def unscored(project: Project, model: str, version: str, scorers: Sequence[str]) -> list[Candidate]:
    """The unlabelled cases that `version` of a model hasn't given each of the scores, in the archive's order."""
    known = [project.catalog.scores.newest(f"{scorer}:{model}") for scorer in scorers]
    return [
        one
        for one in project.catalog.cases.candidates()
        if any(one.case_id not in scores or scores[one.case_id].model_version != version for scores in known)
    ]


def in_order(
    todo: Sequence[Candidate], known: Mapping[str, tuple[Score, float]], failed: Container[str] = ()
) -> list[Candidate]:
    """The cases to score, the most useful first: those without a score, then the highest stale scores, then the oldest
    ones, and at last those that `failed`. `known` has the newest score and its time by case id."""
    ready = [one for one in todo if one.case_id not in failed]
    never = [one for one in ready if one.case_id not in known]
    stale = [one for one in ready if one.case_id in known]
    stale.sort(key=lambda one: -known[one.case_id][0].value)
    hard = round(_HARD * len(stale))
    later = sorted(stale[hard:], key=lambda one: known[one.case_id][1])
    return [*never, *stale[:hard], *later, *(one for one in todo if one.case_id in failed)]


def _failed(project: Project, model: str, version: str) -> set[str]:
    """The cases that earlier jobs of a version couldn't score."""
    jobs = project.catalog.jobs.listed("score")
    ours = (job.result for job in jobs if job.name == model and job.result.get("version") == version)
    return {case_id for result in ours for case_id in result.get("failed", ())}


def _score_case(
    project: Project, row: CaseRow, members: Sequence[ProbabilisticModel], version: str, model: str, control: Control
) -> None:
    start = time.monotonic()
    volume = project.volumes(row.origin).volume(row.case)
    summaries, mask = look(volume, members, control)
    seconds = time.monotonic() - start
    project.preannotations.put(row.case, model, members[0].card.version, mask)
    # Entropy is written last: a case that has it is done.
    for scorer in (EPISTEMIC, ENTROPY):
        if scorer in summaries:
            summary = summaries[scorer]
            detail = {"per_class": dict(summary.per_class), "slices": list(summary.slices), "members": len(members)}
            detail["why"] = _why(summary)
            project.catalog.scores.put(row.case.id, f"{scorer}:{model}", version, summary.value, seconds, detail)


def _why(summary: Summary) -> str:
    """Where the model is least sure, in words for annotators."""
    if not summary.slices:
        return ""
    least = max(summary.per_class, key=lambda name: summary.per_class[name], default="")
    return f"least sure about {least}; look at {where_to_look(summary.slices)}" if least else ""


def look(volume: Volume, members: Sequence[ProbabilisticModel], control: Control) -> tuple[dict[str, Summary], Mask]:
    """The entropy of the first member and its mask, from one pass; with several members also their disagreement."""

    def step(done: float, text: str = "") -> None:
        control.pause()

    labels, depth = members[0].card.labels, volume.geometry.shape[0]
    first = members[0].probabilities(volume, step)
    summaries = {ENTROPY: summarise(entropy(first), first, labels, depth)}
    mask = members[0].mask_from(first, volume.geometry)
    if len(members) > 1:
        others = (member.probabilities(volume, step) for member in members[1:])
        information, mean = mutual_information(chain([first], others))
        summaries[EPISTEMIC] = summarise(information, mean, labels, depth)
    return summaries, mask
