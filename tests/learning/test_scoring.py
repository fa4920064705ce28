"""The scoring and the batch job, with models whose answers anyone can work out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.archives.memory import MemoryArchive
from app.core.job import Job
from app.core.label import FINAL, ORIGINAL
from app.core.pool import Candidate, Score
from app.core.progress import ignore_progress
from app.core.volume import Volume
from app.errors import ArchiveUnavailable, BadOption, Cancelled, ModelNotTrained, NotSupported
from app.learning.batch import segment_cases
from app.learning.control import Control
from app.learning.scoring import in_order, look, score, unscored
from app.models.fake import FakeAutomatic
from app.project.project import Project
from tests.learning import phantoms


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    opened = phantoms.project(phantoms.settings(tmp_path, type="fake_automatic", trainer=""), count=4)
    yield opened
    opened.close()


def begin(project: Project, kind: str, **request: object) -> tuple[Job, Control]:
    job = project.catalog.jobs.add(kind, "segmentation", request, once=False)  # type: ignore[arg-type]
    project.catalog.jobs.started(job.id, 1, 0.0)
    return job, Control(project.catalog.jobs, job.id, project.paths.interaction, pause_seconds=0)


def test_every_unlabelled_case_gets_a_score_once_per_version(project: Project) -> None:
    phantoms.submit(project, 0)
    assert score(project, *begin(project, "score"))["scored"] == 3
    scores = project.catalog.scores.newest("entropy:segmentation")
    assert set(scores) == {"case-1", "case-2", "case-3"}
    assert all(0 < one.value <= 1 and one.model_version == "1" for one in scores.values())
    detail = project.catalog.scores.detail("case-1")["entropy:segmentation"]
    assert set(detail["per_class"]) == set(phantoms.NAMES)
    assert detail["slices"]
    assert score(project, *begin(project, "score"))["scored"] == 0


def test_a_job_keeps_to_its_budget_and_the_next_one_goes_on(tmp_path: Path) -> None:
    made = phantoms.settings(tmp_path, type="fake_automatic", trainer="")
    learning = made.learning.model_copy(update={"score_cases": 3})
    project = phantoms.project(made.model_copy(update={"learning": learning}), count=4)
    assert [score(project, *begin(project, "score"))["scored"] for _ in range(3)] == [3, 1, 0]
    project.close()


def test_a_job_out_of_time_scores_nothing(tmp_path: Path) -> None:
    made = phantoms.settings(tmp_path, type="fake_automatic", trainer="")
    learning = made.learning.model_copy(update={"score_seconds": 1e-9})
    project = phantoms.project(made.model_copy(update={"learning": learning}), count=2)
    result = score(project, *begin(project, "score"))
    assert (result["scored"], result["left"]) == (0, 2)
    project.close()


def test_snapshots_add_what_they_disagree_about(project: Project) -> None:
    _, control = begin(project, "score")
    volume = project.volumes("archive").volume(project.catalog.cases.get("case-0").case)
    model = FakeAutomatic(phantoms.NAMES, earlier=2)
    alone, mask = look(volume, [model], control)
    assert set(alone) == {"entropy"}
    both, same = look(volume, [model, *model.snapshots()], control)
    assert set(both) == {"entropy", "epistemic"}
    assert 0 < both["epistemic"].value < 1
    assert mask.sha256 == same.sha256 == model.segment(volume, ignore_progress, {}).sha256


def test_one_pass_gives_everything_unless_the_ensemble_is_asked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[float] = []

    def counted(self: FakeAutomatic, *arguments: Any) -> Any:
        passes.append(self.sharpness)
        return probabilities(self, *arguments)

    probabilities = FakeAutomatic.probabilities
    monkeypatch.setattr(FakeAutomatic, "probabilities", counted)
    monkeypatch.setattr(FakeAutomatic, "snapshots", lambda self: [FakeAutomatic(self.labels, "old", 1.0)] * 2)
    score(project, *begin(project, "score"))
    assert len(passes) == 4
    assert project.catalog.scores.newest("epistemic:segmentation") == {}
    row = project.catalog.cases.get("case-0")
    volume = project.volumes("archive").volume(row.case)
    mask = project.preannotations.get(row.case, "segmentation", "1", volume.geometry)
    assert mask is not None
    assert mask.sha256 == FakeAutomatic(phantoms.NAMES).segment(volume, ignore_progress, {}).sha256
    assert len(passes) == 4
    score(project, *begin(project, "score", scorers=["entropy", "epistemic"]))
    assert len(passes) == 4 + 4 * 3
    assert len(project.catalog.scores.newest("epistemic:segmentation")) == 4
    assert score(project, *begin(project, "score", scorers=["entropy", "epistemic"]))["scored"] == 0


def test_a_case_that_cannot_be_scored_is_tried_last_by_the_next_job(tmp_path: Path) -> None:
    made = phantoms.settings(tmp_path, type="fake_automatic", trainer="")
    learning = made.learning.model_copy(update={"score_cases": 2})
    project = phantoms.project(made.model_copy(update={"learning": learning}), count=3)
    assert isinstance(project.archive, MemoryArchive)
    constant = Volume(np.ones(phantoms.SHAPE, np.float32), phantoms.geometry())
    project.archive.add_volume("case-0", constant, "patient-0")
    project.catalog.cases.apply(project.archive.list(None), "cursor")
    results = []
    for _ in range(3):
        job, control = begin(project, "score")
        results.append(score(project, job, control))
        project.catalog.jobs.finish(job.id, "done", results[-1])
    assert [(one["scored"], one["left"], one["failed"]) for one in results] == [
        (1, 2, ["case-0"]),
        (1, 1, ["case-0"]),
        (0, 1, ["case-0"]),
    ]
    project.close()


def test_an_archive_that_does_not_answer_ends_the_job(project: Project) -> None:
    assert isinstance(project.archive, MemoryArchive)
    project.archive.available = False
    with pytest.raises(ArchiveUnavailable):
        score(project, *begin(project, "score"))


def test_order_never_then_hard_then_oldest() -> None:
    todo = [Candidate(name, "p", order, 0.0) for order, name in enumerate("abcdef")]
    values = {"b": (0.1, 5.0), "c": (0.9, 6.0), "d": (0.8, 4.0), "e": (0.2, 3.0), "f": (0.3, 7.0)}
    known = {name: (Score(value, "m-1"), made) for name, (value, made) in values.items()}
    # 30 % of five stale scores are two: the hardest; the others by age.
    assert "".join(one.case_id for one in in_order(todo, known)) == "acdebf"
    # Of the four that didn't fail, one is hard.
    assert "".join(one.case_id for one in in_order(todo, known, {"a", "d"})) == "cebfad"


def test_a_case_is_scored_when_each_score_is_of_the_served_version(project: Project) -> None:
    for case, scorer, version in (("0", "a", "2"), ("0", "b", "2"), ("1", "a", "2"), ("1", "b", "1"), ("2", "a", "2")):
        project.catalog.scores.put(f"case-{case}", f"{scorer}:m", version, 0.5, 0.1, {})
    assert [one.case_id for one in unscored(project, "m", "2", ["a"])] == ["case-3"]
    assert [one.case_id for one in unscored(project, "m", "2", ["a", "b"])] == ["case-1", "case-2", "case-3"]


def test_models_that_cannot_score(tmp_path: Path) -> None:
    for kind, error in (("fake", NotSupported), ("segmentation", ModelNotTrained)):
        project = phantoms.project(phantoms.settings(tmp_path / kind, type=kind, trainer=""), count=1)
        with pytest.raises(error):
            score(project, *begin(project, "score"))
        project.close()


def test_a_batch_keeps_labels_that_are_not_final_once(project: Project) -> None:
    phantoms.submit(project, 0)
    assert segment_cases(project, *begin(project, "segment", images="unlabeled"))["segmented"] == 3
    label = project.catalog.labels.newest("case-1", ORIGINAL)
    assert (label.model, label.model_version, label.author) == ("segmentation", "1", "segmentation")
    assert {segment.algorithm for segment in label.segments} == {"AUTOMATIC"}
    assert not project.catalog.cases.get("case-1").completed
    volume = project.volumes("archive").volume(project.catalog.cases.get("case-1").case)
    assert project.labels.read(label, volume.geometry).labelmap().any()
    assert segment_cases(project, *begin(project, "segment", images="all"))["segmented"] == 1
    assert segment_cases(project, *begin(project, "segment", images="all"))["segmented"] == 0


def test_what_a_batch_refuses(project: Project) -> None:
    with pytest.raises(BadOption, match="by people"):
        segment_cases(project, *begin(project, "segment", label_tag=FINAL))
    with pytest.raises(BadOption, match="labeled"):
        segment_cases(project, *begin(project, "segment", images="some"))


def test_a_batch_stops_when_asked(project: Project) -> None:
    job, control = begin(project, "segment", images="all")
    project.catalog.jobs.request_stop(job.id)
    with pytest.raises(Cancelled):
        segment_cases(project, job, control)
