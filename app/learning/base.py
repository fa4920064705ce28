"""The first version of a model whose training goes on from weights made elsewhere: a copy of those."""

from __future__ import annotations

import shutil
import time

from app.core.model import ModelVersion
from app.durable import flush
from app.project.open_models import model_options, model_type, served_version
from app.project.project import Project


def parent_of(project: Project, name: str) -> ModelVersion | None:
    """The version that training of a model goes on from: the served one. A model with a base that has none yet gets a
    copy of it as its served version, which changes nobody's answers.

    None for a model that begins with fresh weights. Raises `UnknownModel`, `BadFile`.
    """
    served = served_version(project, name)
    base = model_type(project, name).base
    if served is not None or base is None:
        return served
    options = model_options(project, name)
    number = project.catalog.versions.next_number(name)
    folder = project.paths.models / name / str(number)
    if folder.exists():
        shutil.rmtree(folder)  # an orphan of a run that was killed before it registered its version
    folder.parent.mkdir(parents=True, exist_ok=True)
    copied = base.copy(options, folder)
    for file in folder.rglob("*"):
        flush(file)
    flush(folder)
    flush(folder.parent)
    version = ModelVersion(
        id=f"{name}-{number}",
        model=name,
        number=number,
        parent="",
        folder=str(folder.relative_to(project.paths.models)),
        sha256=copied.sha256,
        state="published",
        reason=f"the weights of {options.source or 'the default source'}, which training begins with",
        metrics={},
        label_ids=(),
        licence=copied.licence,
        job_id="",
        created=time.time(),
    )
    project.catalog.versions.add(version, serve=True, who="job")
    return version
