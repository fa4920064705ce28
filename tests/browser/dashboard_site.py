"""The real application on a real socket in the middle of a project, for the page at `/`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from app.archives.memory import MemoryArchive
from app.catalog.schema import label
from app.core.label import Submission
from app.core.mask import Mask
from app.core.model import ModelVersion
from app.core.prompt import Point
from app.errors import UnusableSeries
from app.main import create_app
from app.services import Services
from app.services.prompting.log import Viewer
from app.settings import ModelSettings, Settings
from tests.dicom.synthetic import ct_series
from tests.live import listening
from tests.prompting import Steps

SHAPE = (24, 96, 96)
CASES = 14
DAY = 86400.0
MODELS = {
    "clicks": ModelSettings(type="fake"),
    "bands": ModelSettings(type="fake_automatic", trainer="segmentation"),
}


@dataclass(frozen=True)
class Site:
    """`url` is the address of the page, with the token before it if there is one."""

    url: str
    services: Services
    archive: MemoryArchive


@contextmanager
def serving(workspace: Path, token: str = "", full: bool = True) -> Iterator[Site]:
    """`full` has labels, versions, scores, a session and images that can't be used; otherwise there is nothing yet.

    Jobs aren't started: tests write into the job table what a job's own process would.
    """
    archive = MemoryArchive()
    if full:
        for number in range(CASES):
            archive.add_series(ct_series(SHAPE, seed=number, patient=number // 2)[0])
    values: dict[str, Any] = {"models": MODELS, "labels": {"structures": ["liver", "spleen"]}, "device": "cpu"}
    settings = Settings(workspace=workspace, learning={"train_after": 0}, **values)  # type: ignore[arg-type]
    app = create_app(settings, archive, token)
    services: Services = app.state.services
    prefix = f"/t/{token}" if token else ""
    with listening(app) as port:
        services.jobs.runner.shutdown()
        services.sync.run()
        if full:
            fill(services, archive)
        yield Site(f"http://127.0.0.1:{port}{prefix}/", services, archive)


def fill(services: Services, archive: MemoryArchive) -> None:
    ids = [row.case.id for row in services.cases.all()]
    labelled = (("anna", 6.2, ""), ("anna", 5.1, ""), ("bo", 5.0, "tail of the liver unsure"), ("anna", 1.1, ""))
    for case_id, (who, days, comment) in zip(ids, labelled, strict=False):
        submitted = submit(services, case_id, who, comment)
        with services.project.catalog.database.write() as connection:
            made = sa.update(label).where(label.c.id == submitted)
            connection.execute(made.values(created=time.time() - days * DAY))
    for number, dice, state in ((1, 0.512, "published"), (2, 0.471, "rejected"), (3, 0.684, "published")):
        add_version(services, number, dice, state)
    for number, case_id in enumerate(ids[4:10]):
        detail = {"per_class": {"liver": 0.2}, "slices": [number + 3, 1], "members": 1}
        services.project.catalog.scores.put(case_id, "entropy:bands", "bands-3", 0.30 + 0.05 * number, 0.1, detail)
    open_session(services, ids[5])
    missing = archive.add_series(ct_series(SHAPE, seed=99, patient=40, missing=(4,))[0]).id
    services.sync.run()
    try:
        services.cases.volume(missing)
    except UnusableSeries:
        return
    raise AssertionError("a series with a gap was taken")


def submit(services: Services, case_id: str, who: str, comment: str = "", name: str = "liver") -> int:
    """A label of one slice; returns its id."""
    geometry = services.cases.volume(case_id).geometry
    voxels = np.zeros(geometry.shape, np.uint8)
    voxels[3, 10:30, 10:30] = 1
    mask = Mask.single(voxels, [name], geometry)
    return services.labels.submit_mask(case_id, mask, Submission(who, "3D Slicer", model="bands", comment=comment)).id


def add_version(services: Services, number: int, dice: float, state: str) -> None:
    version = ModelVersion(
        id=f"bands-{number}",
        model="bands",
        number=number,
        parent=f"bands-{number - 1}" if number > 1 else "",
        folder=f"bands/{number}",
        sha256="0" * 64,
        state="published" if state == "published" else "rejected",
        reason=f"mean Dice {dice:.3f}"
        if state == "published"
        else f"worse: mean Dice {dice:.3f}, served version 0.512",
        metrics={
            "best_metric": dice,
            "dice": {"liver": dice + 0.05, "spleen": dice - 0.05},
            "training_cases": 2 + number,
            "validation_cases": 2,
        },
        label_ids=(),
        licence="",
        job_id="",
        created=time.time() - (4 - number) * DAY,
    )
    services.project.catalog.versions.add(version, serve=state == "published", who="job")


def open_session(services: Services, case_id: str, who: str = "cem") -> str:
    """A session with one click, whose cube is 5 voxels wide; returns its name."""
    session = services.prompting.open(f"test:{who}", case_id, "clicks", {}, Viewer("ITK-SNAP", who))
    Steps(services).add(session, f"test:{who}", [Point((10, 40, 40))])
    return services.prompting.record(session).name
