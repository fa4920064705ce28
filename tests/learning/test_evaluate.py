from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.core.mask import dice
from app.learning.dataset import labelled_cases
from app.learning.evaluate import evaluate
from app.models.fake import FakeAutomatic, FakeInteractive
from app.project.project import Project
from tests.learning import phantoms


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    opened = phantoms.project(phantoms.settings(tmp_path), count=3)
    yield opened
    opened.close()


def test_dice() -> None:
    one, other = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    assert dice(one, other) is None
    one[0] = True
    assert dice(one, other) == 0.0
    other[0, 0] = True
    assert dice(one, other) == pytest.approx(2 * 2 / (4 + 2))
    assert dice(one, one) == 1.0


def test_a_click_into_the_middle(project: Project) -> None:
    labelmap = np.zeros(phantoms.SHAPE, np.uint8)
    labelmap[3:8, 5:10, 5:10] = 1
    phantoms.submit(project, 0, labelmap=labelmap)
    measured = evaluate(FakeInteractive(radius=2), labelled_cases(project), phantoms.NAMES, project, lambda: None)
    assert (dict(measured.dice), measured.cases) == ({"bright": 1.0}, 1)  # "dark" is nowhere, and was clicked nowhere


def test_an_automatic_model_by_structure_name(project: Project) -> None:
    phantoms.submit(project, 0)
    measured = evaluate(
        FakeAutomatic(("bright", "liver", "spleen")), labelled_cases(project), phantoms.NAMES, project, lambda: None
    )
    assert measured.dice["dark"] == 0.0  # it doesn't know the structure, so it finds it nowhere
    assert measured.dice["bright"] < 0.1  # it finds it, in another place
    assert measured.mean == pytest.approx(measured.dice["bright"] / 2)


def test_only_what_was_examined_counts(project: Project) -> None:
    phantoms.submit(project, 0, names=("bright",))
    assert evaluate(
        FakeAutomatic(phantoms.NAMES), labelled_cases(project), phantoms.NAMES, project, lambda: None
    ).dice == {"bright": pytest.approx(0, abs=0.1)}
    absent = np.zeros(phantoms.SHAPE, np.uint8)
    phantoms.submit(project, 1, names=("bright",), labelmap=(phantoms.voxels(1)[1] == 1).astype(np.uint8))
    phantoms.submit(project, 2, names=("dark",), labelmap=absent)
    measured = evaluate(FakeAutomatic(phantoms.NAMES), labelled_cases(project), phantoms.NAMES, project, lambda: None)
    assert measured.dice["dark"] == 0.0, "it finds what isn't there"
    assert measured.cases == 3


def test_a_case_that_cannot_be_read_is_left_out(project: Project) -> None:
    project.labels.path(phantoms.submit(project, 0)).unlink()
    phantoms.submit(project, 1)
    model = FakeAutomatic(phantoms.NAMES)
    assert evaluate(model, labelled_cases(project), phantoms.NAMES, project, lambda: None).cases == 1
