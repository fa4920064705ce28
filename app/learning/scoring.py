"""The scoring job: a model's uncertainty about unlabelled cases, within a time budget.

One pass over a case writes `entropy:<model>`, and `epistemic:<model>` too if snapshots of the training run were kept.
Stale scores, of earlier versions, are nearly as good as fresh ones, so the highest of them are updated first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, cast

from app.core.case import CaseRow
from app.core.job import Job
from app.core.model import ProbabilisticModel
from app.core.pool import Candidate, Score
from app.core.volume import Volume
from app.errors import Cancelled, ModelNotTrained, NotSupported, SegloopError
from app.learning.control import Control
from app.learning.uncertainty import Summary, entropy, mutual_information, summarise
from app.models.device import Device
from app.project.open_models import model_type, open_model
from app.project.project import Project

logger = logging.getLogger(__name__)

ENTROPY, EPISTEMIC = "entropy", "epistemic"
_HARD = 0.3
"""The share of stale scores, the highest ones, that is updated before the others."""


def score(project: Project, job: Job, control: Control) -> Mapping[str, Any]:
    """Score unlabelled cases with the model `job.name`; cases that its served version has scored are skipped.

    Raises `UnknownModel`, `NotSupported`, `ModelNotTrained`.
    """
    device = Device(project.settings.device, threads=project.settings.threads or None)
    if not model_type(project, job.name).scored:
        raise NotSupported(f"{job.name} gives no probabilities, so it can't score cases")
    model = cast(ProbabilisticModel, open_model(project, job.name, device))
    if not model.card.ready:
        raise ModelNotTrained(f"{job.name} has no weights yet", retry_after=60)
    served = project.catalog.versions.served(job.name)
    version = served.id if served is not None else model.card.version
    members = [model, *model.snapshots()]

    known = project.catalog.scores.dated(f"{ENTROPY}:{job.name}")
    todo = in_order(project.catalog.cases.candidates(), known, version)[: project.settings.learning.score_cases]
    until = time.monotonic() + project.settings.learning.score_seconds
    done = 0
    for count, candidate in enumerate(todo):
        control.pause()
        control.progress(count / len(todo))
        if time.monotonic() - control.waited > until:
            break
        try:
            _score_case(project, project.catalog.cases.get(candidate.case_id), members, version, job.name, control)
            done += 1
        except Cancelled:
            raise
        except SegloopError as error:
            logger.warning("case %s can't be scored: %s", candidate.case_id, error)
    return {"scored": done, "left": len(todo) - done, "version": version, "members": len(members)}


def in_order(
    candidates: Sequence[Candidate], known: Mapping[str, tuple[Score, float]], version: str
) -> list[Candidate]:
    """The cases to score, the most useful first: unscored ones, then the highest stale scores, then the oldest stale
    ones. `known` has the newest score and its time by case id; those of `version` are fresh."""
    never = [one for one in candidates if one.case_id not in known]
    stale = [one for one in candidates if one.case_id in known and known[one.case_id][0].model_version != version]
    stale.sort(key=lambda one: -known[one.case_id][0].value)
    hard = round(_HARD * len(stale))
    return [*never, *stale[:hard], *sorted(stale[hard:], key=lambda one: known[one.case_id][1])]


def _score_case(
    project: Project, row: CaseRow, members: Sequence[ProbabilisticModel], version: str, model: str, control: Control
) -> None:
    start = time.monotonic()
    volume = project.volumes(row.origin).volume(row.case)
    summaries = look(volume, members, control)
    seconds = time.monotonic() - start
    # Entropy is written last: a case that has it is done.
    for scorer in (EPISTEMIC, ENTROPY):
        if scorer in summaries:
            summary = summaries[scorer]
            detail = {"per_class": dict(summary.per_class), "slices": list(summary.slices), "members": len(members)}
            project.catalog.scores.put(row.case.id, f"{scorer}:{model}", version, summary.value, seconds, detail)


def look(volume: Volume, members: Sequence[ProbabilisticModel], control: Control) -> dict[str, Summary]:
    """The entropy of the first member, and with several members also their disagreement."""

    def step(done: float, text: str = "") -> None:
        control.pause()

    labels, depth = members[0].card.labels, volume.geometry.shape[0]
    first = members[0].probabilities(volume, step)
    summaries = {ENTROPY: summarise(entropy(first), first, labels, depth)}
    if len(members) > 1:
        others = (member.probabilities(volume, step) for member in members[1:])
        information, mean = mutual_information(chain([first], others))
        summaries[EPISTEMIC] = summarise(information, mean, labels, depth)
    return summaries
