"""The review job: labels that stand out against what the model finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app import plugins
from app.core.mask import Mask
from app.core.progress import Progress
from app.core.volume import Geometry, Volume
from app.learning.control import Control
from app.learning.review import Agreement, agreements, doubts, unreviewed
from app.learning.scoring import score
from app.models.fake import FakeAutomatic
from app.project.project import Project
from app.services.cases import CaseService
from app.services.next_case import NextCaseService
from tests.learning import phantoms

ROW = Geometry((1, 1, 4), np.eye(4))

Spoil = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


def swapped(labelmap: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.array([0, 2, 1], np.uint8)[labelmap]


def shifted(labelmap: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.roll(labelmap, 4, axis=1)


def without_dark(labelmap: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(labelmap == 2, 0, labelmap).astype(np.uint8)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Eight labelled cases and a model that finds the truth but for noise on the border."""

    def segment(self: FakeAutomatic, volume: Volume, progress: Progress, options: object) -> Mask:
        blurred = volume.voxels + 0.0
        blurred[1:] = (blurred[1:] + blurred[:-1]) / 2
        return Mask.single(
            np.where(blurred > 0.9, 1, np.where(blurred < -0.9, 2, 0)).astype(np.uint8),
            list(phantoms.NAMES),
            volume.geometry,
        )

    monkeypatch.setattr(FakeAutomatic, "segment", segment)
    opened = phantoms.project(phantoms.settings(tmp_path, type="fake_automatic", trainer=""), count=9)
    yield opened
    opened.close()


def run(project: Project) -> dict[str, object]:
    job = project.catalog.jobs.add("score", "segmentation", {"scorers": ["review"]}, once=False)
    project.catalog.jobs.started(job.id, 1, 0.0)
    control = Control(project.catalog.jobs, job.id, project.paths.interaction, pause_seconds=0)
    result = dict(score(project, job, control))
    project.catalog.jobs.finish(job.id, "done", result)
    return result


def desk(project: Project, clock: Callable[[], float] = time.time) -> NextCaseService:
    return NextCaseService(project, CaseService(project), plugins.strategies().found, ["segmentation"], clock=clock)


@pytest.mark.parametrize("spoil", [swapped, shifted, without_dark])
def test_a_wrong_label_is_offered_first_with_the_structure_and_where(project: Project, spoil: Spoil) -> None:
    for seed in range(8):
        truth = phantoms.voxels(seed)[1]
        phantoms.submit(project, seed, labelmap=spoil(truth) if seed == 5 else truth)
    assert run(project)["scored"] == 8
    offer = desk(project).next("review", "rita", {})
    assert offer is not None
    assert offer.row.case.id == "case-5"
    assert "dark" in offer.reason or spoil is not without_dark
    assert "; look at slice" in offer.reason
    detail = project.catalog.scores.detail("case-5")["review:segmentation"]
    truth = phantoms.voxels(5)[1]
    worst = detail["slices"][0]
    assert (spoil(truth)[worst] != truth[worst]).any()


def test_a_reviewed_label_does_not_come_back_and_a_changed_one_is_compared_anew(project: Project) -> None:
    for seed in range(4):
        truth = phantoms.voxels(seed)[1]
        phantoms.submit(project, seed, labelmap=shifted(truth) if seed == 2 else truth)
    run(project)
    assert unreviewed(project, "segmentation", "1") == []
    before = time.time() - 60
    first = desk(project, lambda: before).next("review", "rita", {})
    assert first is not None
    assert first.row.case.id == "case-2"
    again = desk(project, lambda: before).next("review", "rita", {})
    assert again is not None
    assert again.row.case.id == "case-2", "a claim holds although the case has a label"

    phantoms.submit(project, 2)
    assert [one.row.case.id for one in unreviewed(project, "segmentation", "1")] == ["case-2"]
    run(project)
    rest = desk(project)
    found = []
    while (offer := rest.next("review", "rita", {})) is not None and offer.row.case.id not in found:
        found.append(offer.row.case.id)
        rest.skip(offer.row.case.id, "rita")
    assert sorted(found) == ["case-0", "case-1", "case-3"]


def test_unlabelled_cases_are_never_offered_for_review_and_labelled_ones_by_no_other_strategy(project: Project) -> None:
    phantoms.submit(project, 0)
    offered = desk(project)
    assert offered.next("review", "rita", {}) is None, "nothing was compared yet"
    run(project)
    assert [pick.case_id for pick in offered.preview("review", {})] == ["case-0"]
    assert "case-0" not in [pick.case_id for pick in offered.preview("first", {})]


def test_a_label_that_cannot_be_read_is_left_out_and_tried_last(project: Project) -> None:
    labels = [phantoms.submit(project, seed) for seed in range(3)]
    (project.paths.labels / labels[0].path).write_bytes(b"spoilt")
    result = run(project)
    assert (result["scored"], result["failed"]) == (2, ["case-0"])


def test_a_structure_that_is_usual_and_that_nobody_looked_for_is_doubtful_if_the_model_finds_it() -> None:
    usual = Agreement(0.8, 1000, True, (3,))
    there = {str(n): {"spleen": usual} for n in range(9)}
    missed = doubts({**there, "x": {"spleen": Agreement(0.0, 900, False, (4, 5))}})["x"]
    assert missed.value > 10
    assert missed.why == "the model finds spleen, which the label doesn't speak of; look at slices 5 to 6"
    little = doubts({**there, "x": {"spleen": Agreement(0.0, 90, False, (4,))}})["x"]
    assert little.value == 0
    rare = doubts({**{key: {"spleen": Agreement(0.0, 1000, False, (1,))} for key in there}, "x": there["0"]})
    assert all(one.value == 0 for one in rare.values())


def test_agreement_is_dice_with_what_the_label_says() -> None:
    truth = Mask.single(np.array([[[1, 1, 0, 0]]], np.uint8), ["a"], ROW)
    found = Mask.single(np.array([[[0, 1, 2, 2]]], np.uint8), ["a", "b"], ROW)
    said = agreements(found, truth, frozenset({"a"}), ["a", "b", "c"])
    assert said["a"] == Agreement(2 / 3, 1, True, (0,))
    assert said["b"] == Agreement(0.0, 2, False, (0,))
    assert said["c"] == Agreement(None, 0, False, ())
