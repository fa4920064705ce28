"""A small project to export: grids of every kind, with whole, partial and overlapping labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.archives.memory import MemoryArchive
from app.core.label import FINAL, Submission
from app.core.mask import Mask, Segment
from app.core.volume import Geometry, Volume
from app.project.label_commit import commit_label
from app.project.project import Project
from app.settings import ModelSettings, Settings
from tests.dicom.synthetic import ct_series, grid, mr_series

STRUCTURES = ("liver", "spleen", "left kidney")
SHAPE = (6, 20, 20)
GRIDS = {
    "oblique": grid(SHAPE, "oblique"),
    "sagittal": grid(SHAPE, "sagittal", (1.5, 0.5, 3.0)),
    "reversed": Geometry(SHAPE, grid(SHAPE).affine @ np.diag([-1.0, 1.0, -1.0, 1.0])),
}
"""Of the volume files, which are named so."""


def archive() -> MemoryArchive:
    """Three volume files, three CT series and an MR series, each of a patient of its own."""
    held = MemoryArchive()
    for number, (name, geometry) in enumerate(GRIDS.items()):
        voxels = np.random.default_rng(number).integers(-1000, 1000, SHAPE).astype(np.int16)
        held.add_volume(name, Volume(voxels, geometry), patient_id=f"file {number}")
    held.add_series(ct_series(SHAPE, patient=1)[0])
    held.add_series(ct_series(SHAPE, orientation="oblique", reversed=True, patient=2)[0])
    held.add_series(ct_series(SHAPE, gantry_tilt=12, patient=3)[0])
    mr = mr_series(SHAPE, patient=4)[0]
    for instance in mr:
        instance.SeriesDescription = "Ax T1 post"
    held.add_series(mr)
    return held


def settings(workspace: Path) -> Settings:
    return Settings(
        workspace=workspace,
        device="cpu",
        labels={"structures": list(STRUCTURES)},  # type: ignore[arg-type]
        models={"clicks": ModelSettings(type="fake")},
        learning={"train_after": 0},  # type: ignore[arg-type]
    )


def project(workspace: Path, held: MemoryArchive | None = None) -> Project:
    """The open project, with its cases known and no label."""
    source = held or archive()
    opened = Project.open(settings(workspace), source)
    opened.catalog.cases.apply(source.list(None), "cursor")
    return opened


def labelmap(seed: int, highest: int, shape: tuple[int, int, int] = SHAPE) -> NDArray[np.uint8]:
    """Balls with holes and noise, of the values 1 to `highest`."""
    rng = np.random.default_rng(seed)
    place = np.indices(shape, np.float64)
    answer = np.zeros(shape, np.uint8)
    for value in range(1, highest + 1):
        centre = rng.uniform(0.2, 0.8, 3) * shape
        far = np.sqrt(((place - centre.reshape(3, 1, 1, 1)) / np.array([0.3, 1, 1]).reshape(3, 1, 1, 1)) ** 2).max(0)
        answer[(far < 5) & (far > 1.5)] = value
    answer[rng.random(shape) > 0.995] = highest
    return answer


def submit(opened: Project, case_id: str, mask: Mask, tag: str = FINAL, author: str = "ann") -> None:
    row = opened.catalog.cases.get(case_id)
    commit_label(opened, row, mask, Submission(author, "test", tag, comment="a comment"), mask.sha256)


def whole(geometry: Geometry, seed: int = 0) -> Mask:
    """Every structure is segmented, but the kidney is absent."""
    return Mask(
        (labelmap(seed, 2),),
        (
            Segment(1, "liver", color=(200, 100, 50)),
            Segment(2, "spleen"),
            Segment(3, "left kidney", algorithm="MANUAL"),
        ),
        geometry,
    )


def partial(geometry: Geometry, seed: int = 0) -> Mask:
    """The spleen only; nobody looked for the rest."""
    return Mask((labelmap(seed, 1),), (Segment(1, "spleen"),), geometry)


def overlapping(geometry: Geometry, seed: int = 0) -> Mask:
    """Liver and spleen share voxels; the kidney is segmented too."""
    first, second = labelmap(seed, 1), np.zeros(geometry.shape, np.uint8)
    second[1:4, 2:12, 2:15] = 2
    first[4, 15:18, 15:18] = 3
    segments = (Segment(1, "liver"), Segment(2, "spleen", layer=1), Segment(3, "left kidney"))
    return Mask((first, second), segments, geometry)


def geometry_of(opened: Project, case_id: str) -> Geometry:
    row = opened.catalog.cases.get(case_id)
    return opened.volumes(row.origin).volume(row.case).geometry


def label_all(opened: Project) -> dict[str, Mask]:
    """Label every case: whole and partial by turns. The masks by case id."""
    masks = {}
    for number, row in enumerate(opened.catalog.cases.all()):
        geometry = geometry_of(opened, row.case.id)
        masks[row.case.id] = (partial if number % 2 else whole)(geometry, number)
        submit(opened, row.case.id, masks[row.case.id])
    return masks
