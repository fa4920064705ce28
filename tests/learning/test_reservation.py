"""Which patients are kept for validation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.model import ModelVersion
from app.learning.dataset import is_validation, labelled_cases
from app.learning.reservation import reserve_patients
from app.project.project import Project
from tests.learning import phantoms

COUNT = 24
OTHERS = [seed for seed in range(COUNT) if not is_validation(f"patient-{seed}", 5)]
OF_THE_FOLD = [seed for seed in range(COUNT) if is_validation(f"patient-{seed}", 5)]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    opened = phantoms.project(phantoms.settings(tmp_path), COUNT)
    yield opened
    opened.close()


def reserve(project: Project) -> set[str]:
    return set(reserve_patients(project, labelled_cases(project)))


def label(project: Project, *seeds: int) -> list[int]:
    return [phantoms.submit(project, seed).id for seed in seeds]


def trained(project: Project, label_ids: list[int]) -> None:
    number = project.catalog.versions.next_number("segmentation")
    version = ModelVersion(
        f"segmentation-{number}", "segmentation", number, "", f"segmentation/{number}", "", "published", "",
        {}, label_ids, "", f"job-{number}", 0.0,
    )  # fmt: skip
    project.catalog.versions.add(version, serve=True, who="job")


def test_the_second_patient_is_reserved_and_stays_so(project: Project) -> None:
    label(project, OTHERS[0])
    assert reserve(project) == set()
    label(project, OTHERS[1])
    assert reserve(project) == {f"patient-{OTHERS[1]}"}
    label(project, OTHERS[2], OTHERS[0])  # the first patient's label is the newest now
    assert reserve(project) == {f"patient-{OTHERS[1]}"}
    assert project.catalog.reservations.patients() == {f"patient-{OTHERS[1]}"}


def test_nobody_is_reserved_while_the_fold_has_somebody(project: Project) -> None:
    label(project, OTHERS[0], OF_THE_FOLD[0], *OTHERS[1:4])
    assert reserve(project) == set()


def test_one_patient_in_as_many_as_the_fold_says(project: Project) -> None:
    label(project, *OTHERS[:10])
    assert reserve(project) == {f"patient-{seed}" for seed in OTHERS[1:3]}
    label(project, *OF_THE_FOLD[:2], *OTHERS[10:13])
    assert reserve(project) == {f"patient-{seed}" for seed in OTHERS[1:3]}


def test_a_patient_whom_a_version_has_learnt_from_is_not_reserved(project: Project) -> None:
    trained(project, label(project, *OTHERS[:3]))
    assert reserve(project) == set()
    label(project, OTHERS[3])
    assert reserve(project) == {f"patient-{OTHERS[3]}"}
