"""The batch job: runs an automatic model over many cases and stores its masks as pre-annotations."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from app.core.case import CaseRow
from app.core.job import Job
from app.core.label import FINAL, ORIGINAL, Submission
from app.core.mask import Mask
from app.core.model import AutomaticModel
from app.errors import BadOption, Cancelled, ModelNotTrained, NotSupported, SegloopError, UnknownLabel
from app.learning.control import Control
from app.models.device import Device
from app.project.label_commit import commit_label
from app.project.open_models import open_model
from app.project.project import Project

logger = logging.getLogger(__name__)


def segment_cases(project: Project, job: Job, control: Control) -> Mapping[str, Any]:
    """Segment cases with the model `job.name`. Cases that its version has segmented before are skipped.

    Options of the request: `images` selects cases: `all`, `labeled` or `unlabeled`; `label_tag` is the tag of the
    labels, but not `final`, which is for labels by people; `max_batch_size` limits the number of cases, 0: no limit.
    Raises `BadOption`, `UnknownModel`, `NotSupported`, `ModelNotTrained`.
    """
    tag = str(job.request.get("label_tag") or ORIGINAL)
    if tag == FINAL:
        raise BadOption(f"a model's labels can't have the tag {FINAL}, which is for labels by people")
    device = Device(project.settings.device, threads=project.settings.threads or None)
    opened = open_model(project, job.name, device)
    if opened.card.takes_prompts:
        raise NotSupported(f"{job.name} is not an automatic model")
    model = cast(AutomaticModel, opened)
    if not model.card.ready:
        raise ModelNotTrained(f"{job.name} has no weights yet", retry_after=60)
    served = project.catalog.versions.served(job.name)
    version = served.id if served is not None else model.card.version

    rows = _wanted(project, str(job.request.get("images", "unlabeled")))
    rows = [row for row in rows if not _has(project, row, tag, job.name, version)]
    rows = rows[: int(job.request.get("max_batch_size") or 0) or None]
    failed: dict[str, str] = {}
    for count, row in enumerate(rows):
        control.progress(count / len(rows))
        try:
            volume = project.volumes(row.origin).volume(row.case)
            mask = model.segment(volume, lambda done, text="": control.pause(), {})
            segments = tuple(replace(s, algorithm="AUTOMATIC", algorithm_name=job.name) for s in mask.segments)
            mask = Mask(mask.layers, segments, mask.geometry)
            submission = Submission(job.name, "segloop", tag, job.name, version)
            commit_label(project, row, mask, submission, mask.sha256)
        except Cancelled:
            raise
        except SegloopError as error:
            logger.warning("case %s can't be segmented: %s", row.case.id, error)
            failed[row.case.id] = str(error)
    return {"segmented": len(rows) - len(failed), "failed": failed, "version": version}


def _wanted(project: Project, images: str) -> list[CaseRow]:
    if images not in ("all", "labeled", "unlabeled"):
        raise BadOption(f"images is all, labeled or unlabeled, not {images!r}")
    rows = [row for row in project.catalog.cases.all() if not row.problem]
    return [row for row in rows if images == "all" or row.completed == (images == "labeled")]


def _has(project: Project, row: CaseRow, tag: str, model: str, version: str) -> bool:
    try:
        newest = project.catalog.labels.newest(row.case.id, tag)
    except UnknownLabel:
        return False
    return (newest.model, newest.model_version) == (model, version)
