"""Little cases that a tiny network can learn: a bright ball and a dark one in noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.archives.memory import MemoryArchive
from app.core.label import Label, Submission
from app.core.mask import Mask
from app.core.training import Sample
from app.core.volume import Geometry, Volume
from app.project.label_commit import commit_label
from app.project.project import Project
from app.settings import Settings

SHAPE = (12, 24, 24)
NAMES = ("bright", "dark")
TINY: dict[str, bool | int | float | str] = {
    "patch": "8,16,16",
    "features": "4,8",
    "spacing": "0,0,0",
    "batch": 2,
    "steps_per_epoch": 4,
}


def voxels(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Image and labelmap `(k, j, i)`."""
    rng = np.random.default_rng(seed)
    place = np.indices(shape)
    image, label = rng.normal(0, 0.2, shape), np.zeros(shape, np.uint8)
    radius = min(shape) / 3
    for number, value in ((1, 2.0), (2, -2.0)):
        column = shape[2] * (0.25 if number == 1 else 0.75) + rng.uniform(-1, 1)
        centre = np.array([shape[0] / 2, shape[1] / 2 + rng.uniform(-3, 3), column]).reshape(3, 1, 1, 1)
        ball = ((place - centre) ** 2).sum(axis=0) < radius**2
        image[ball] += value
        label[ball] = number
    return image.astype(np.float32), label


def sample(seed: int, shape: tuple[int, int, int] = SHAPE) -> Sample:
    image, label = voxels(seed, shape)
    return Sample(f"case-{seed}", f"patient-{seed}", image, label, frozenset({1, 2}))


def archive(count: int) -> MemoryArchive:
    """`case-0`, `case-1`, ..., each of a patient of its own; 2 mm voxels."""
    held = MemoryArchive()
    for seed in range(count):
        image, _ = voxels(seed)
        held.add_volume(f"case-{seed}", Volume(image, geometry()), patient_id=f"patient-{seed}")
    return held


def geometry() -> Geometry:
    return Geometry(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))


def settings(workspace: Path, **model: Any) -> Settings:
    """A project about the two balls, with one small model, `segmentation` unless `model` says otherwise."""
    one = {"type": "segmentation", "trainer": "segmentation", "options": TINY, **model}
    return Settings(
        workspace=workspace,
        device="cpu",
        threads=1,
        labels={"structures": list(NAMES)},
        models={"segmentation": one},
        learning={"epochs": 6, "snapshots": 2},
    )


def project(made: Settings, count: int = 12) -> Project:
    """Open project over the archive of phantoms, with its cases known."""
    held = archive(count)
    opened = Project.open(made, held)
    opened.catalog.cases.apply(held.list(None), "cursor")
    return opened


def submit(
    opened: Project, seed: int, names: tuple[str, ...] = NAMES, labelmap: NDArray[np.uint8] | None = None
) -> Label:
    """The true label of a case, or another, as somebody's final one."""
    truth = voxels(seed)[1] if labelmap is None else labelmap
    truth = np.where(truth <= len(names), truth, 0).astype(np.uint8)
    mask = Mask.single(truth, list(names), geometry())
    row = opened.catalog.cases.get(f"case-{seed}")
    return commit_label(opened, row, mask, Submission("ann", "test"), str(hash(truth.tobytes())))
