"""Labelled cases as training samples: resampled to the model's grid once, then memory-mapped."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from app.core.case import CaseRow
from app.core.label import FINAL, Label
from app.core.mask import Mask
from app.core.training import ModelSpec, Sample
from app.core.volume import Volume
from app.durable import write_durably
from app.errors import Cancelled, SegloopError
from app.models.trained.preparation import prepare_image, prepare_label
from app.project.project import Project

logger = logging.getLogger(__name__)

_FORMAT = 2
"""Changes with what the prepared arrays mean, so that those of an older segloop are not used."""


@dataclass(frozen=True)
class Labelled:
    """A case and its newest final label."""

    row: CaseRow
    label: Label

    def open(self, project: Project) -> tuple[Volume, Mask]:
        """The volume, and the label on its grid. Raises what `VolumeCache.volume` raises, and `IntegrityError`."""
        volume = project.volumes(self.row.origin).volume(self.row.case)
        return volume, project.labels.read(self.label, volume.geometry)


def labelled_cases(project: Project, label_ids: Sequence[int] | None = None) -> list[Labelled]:
    """Usable cases with a final label, oldest label first; with `label_ids`, those labels instead of the newest."""
    rows = {row.case.id: row for row in project.catalog.cases.all() if not row.problem}
    catalog = project.catalog.labels
    labels = (
        [label for label, _ in catalog.newest_of_all(FINAL)]
        if label_ids is None
        else [catalog.by_id(number) for number in label_ids]
    )
    return [Labelled(rows[label.case_id], label) for label in labels if label.case_id in rows]


def learnable(structures: Sequence[str], cases: Sequence[Labelled]) -> tuple[str, ...]:
    """The project's structures that somebody examined in at least one case, in the project's order. Others can't be
    learnt."""
    examined = {name for one in cases for name in one.label.examined}
    return tuple(name for name in structures if name in examined)


def training_label(mask: Mask, labels: Sequence[str]) -> NDArray[np.uint8]:
    """A mask as uint8 `(k, j, i)`: 1-based positions in `labels`, 0 elsewhere.

    Structures are matched by name. Which of them 0 excludes is said by `examined_in`: only those that the label speaks
    of. Where segments overlap, the later one of `labels` wins.
    """
    listed = {segment.name: segment.number for segment in mask.segments}
    answer = np.zeros(mask.geometry.shape, np.uint8)
    for position, name in enumerate(labels, start=1):
        if name in listed:
            answer[mask.voxels_of(listed[name])] = position
    return answer


def examined_in(label: Label, labels: Sequence[str]) -> frozenset[int]:
    """The 1-based positions in `labels` of the structures that are segmented or absent in a label."""
    return frozenset(position for position, name in enumerate(labels, start=1) if name in label.examined)


@dataclass(frozen=True, eq=False)
class Samples(Sequence[Sample]):
    """Prepared cases, opened on access and memory-mapped, so that hundreds of cases need little memory."""

    folder: Path
    labels: tuple[str, ...]
    entries: Sequence[tuple[Labelled, str]]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        one, key = self.entries[index]
        image = np.load(self.folder / f"{key}.image.npy", mmap_mode="r")
        label = np.load(self.folder / f"{key}.label.npy", mmap_mode="r")
        examined = examined_in(one.label, self.labels)
        return Sample(one.row.case.id, one.row.case.patient_key, image, label, examined)


def prepare(
    project: Project, folder: Path, cases: Sequence[Labelled], spec: ModelSpec, step: Callable[[], None]
) -> tuple[Samples, Mapping[str, str]]:
    """Resample cases to the model's grid, except those that `folder` has from an earlier run.

    Removes files of other cases from `folder`. Calls `step` before each case, which may raise to cancel. Also returns,
    by case id, why unreadable cases were left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[tuple[Labelled, str]] = []
    problems: dict[str, str] = {}
    for one in cases:
        step()
        key = _key(one, spec)
        try:
            if not (folder / f"{key}.label.npy").exists():
                _write(project, folder, one, spec, key)
            entries.append((one, key))
        except Cancelled:
            raise
        except SegloopError as error:
            logger.warning("case %s is left out: %s", one.row.case.id, error)
            problems[one.row.case.id] = str(error)
    needed = {key for _, key in entries}
    for file in folder.iterdir():
        if file.name.partition(".")[0] not in needed:
            file.unlink()
    return Samples(folder, spec.labels, entries), problems


def _write(project: Project, folder: Path, one: Labelled, spec: ModelSpec, key: str) -> None:
    volume, mask = one.open(project)
    image = prepare_image(volume, spec)
    label = prepare_label(training_label(mask, spec.labels), volume.geometry, spec)
    # The label is written last: a case with a label file is complete.
    write_durably(folder / f"{key}.image.npy", lambda file: np.save(file, image))
    write_durably(folder / f"{key}.label.npy", lambda file: np.save(file, label))


def _key(one: Labelled, spec: ModelSpec) -> str:
    """A cache key of everything that the prepared arrays depend on."""
    names = [segment.name for segment in one.label.segments]
    parts = (one.row.case.id, one.row.case.stamp, one.label.sha256, names, spec.labels, spec.spacing, spec.intensity)
    return hashlib.sha256(repr((*parts, spec.patch[0] == 1, _FORMAT)).encode()).hexdigest()[:32]


T = TypeVar("T")


def is_validation(patient_key: str, fold: int) -> bool:
    """Whether a patient is for validation: one in `fold`, by the SHA-256 of `patient_key`.

    Independent of the labels, so no version is measured on patients that an earlier one was trained on.
    """
    return int(sha256(patient_key.encode()).hexdigest(), 16) % fold == 0


def split(cases: Iterable[tuple[str, T]], fold: int, reserved: Container[str] = ()) -> tuple[Sequence[T], Sequence[T]]:
    """`(train, validate)` from pairs of patient key and case. `reserved` patients are for validation too."""
    sides: tuple[list[T], list[T]] = ([], [])
    for patient_key, case in cases:
        sides[is_validation(patient_key, fold) or patient_key in reserved].append(case)
    return sides


def halves(cases: Sequence[tuple[str, T]], least: int) -> tuple[Sequence[T], Sequence[T]]:
    """Validation cases for choosing the epoch, and for the gate, from pairs of patient key and case.

    Those of different patients, drawn by a digest, if that makes at least `least` patients each: the chosen epoch is
    the luckiest one on the patients that chose it. Else all cases are for both.
    """
    sides: tuple[list[T], list[T]] = ([], [])
    patients: tuple[set[str], set[str]] = (set(), set())
    for patient_key, case in cases:
        side = int(sha256(f"half\n{patient_key}".encode()).hexdigest(), 16) % 2
        sides[side].append(case)
        patients[side].add(patient_key)
    if min(map(len, patients)) >= least:
        return sides
    everyone = [case for _, case in cases]
    return everyone, everyone
