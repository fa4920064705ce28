"""Which jobs the clock queues."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.job import Job
from app.errors import AlreadyRunning
from app.learning.control import Control
from app.learning.scoring import score
from app.models.fake import FakeAutomatic
from app.services import Services
from app.services.schedule import DueJobs
from tests.learning import phantoms

COUNT = 5


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Five cases, and jobs that score two of them."""
    made = phantoms.settings(tmp_path, type="fake_automatic", trainer="")
    learning = made.learning.model_copy(update={"score_cases": 2})
    services = Services.open(made.model_copy(update={"learning": learning}), phantoms.archive(COUNT))
    services.sync.run()
    yield services
    services.stop()


@pytest.fixture
def due(services: Services) -> DueJobs:
    return DueJobs(services.project, services.jobs, services.models, services.next_case)


def queued(services: Services, due: DueJobs) -> Job | None:
    """The job that the clock queues."""
    due.queue()
    return next(iter(services.jobs.open("score")), None)


def run(services: Services, job: Job) -> None:
    project = services.project
    project.catalog.jobs.started(job.id, 1, 0.0)
    result = score(project, job, Control(project.catalog.jobs, job.id, project.paths.interaction, pause_seconds=0))
    project.catalog.jobs.finish(job.id, "done", result)


def test_scoring_goes_on_until_every_case_has_a_score(services: Services, due: DueJobs) -> None:
    scored = []
    while (job := queued(services, due)) is not None:
        run(services, job)
        scored.append(services.jobs.get(job.id).result["scored"])
    assert scored == [2, 2, 1]
    assert len(services.project.catalog.scores.newest("entropy:segmentation")) == COUNT


@pytest.mark.parametrize("trainer", ["nninteractive", ""])
def test_an_interactive_model_with_a_trainer_is_trained_when_enough_labels_have_come(
    tmp_path: Path, trainer: str
) -> None:
    made = phantoms.settings(tmp_path, type="nninteractive", trainer=trainer, options={})
    services = Services.open(made, phantoms.archive(COUNT))
    services.sync.run()
    due = DueJobs(services.project, services.jobs, services.models, services.next_case)
    for seed in range(made.learning.train_after):
        assert services.jobs.open("train") == []
        phantoms.submit(services.project, seed)
        due.queue()
    assert [job.name for job in services.jobs.open("train")] == (["segmentation"] if trainer else [])
    services.stop()


def test_a_person_who_stops_scoring_has_stopped_it(services: Services, due: DueJobs) -> None:
    job = queued(services, due)
    assert job is not None
    services.jobs.stop_one(job.id)
    assert queued(services, due) is None


def test_scoring_that_came_to_nothing_is_not_repeated_at_once(services: Services, due: DueJobs) -> None:
    job = queued(services, due)
    assert job is not None
    services.project.catalog.jobs.finish(job.id, "failed", {}, "the archive doesn't answer")
    assert queued(services, due) is None


def test_the_ensemble_is_for_a_strategy_that_somebody_uses(services: Services, due: DueJobs) -> None:
    services.next_case.preview("entropy", {})
    assert services.next_case.scorers("segmentation") == frozenset()
    services.next_case.next("segmentation_epistemic", "anna", {})
    assert services.next_case.scorers("segmentation") == {"epistemic"}
    assert services.next_case.scorers("other") == frozenset()
    job = queued(services, due)
    assert job is not None
    assert job.request["scorers"] == ["entropy", "epistemic"]


def test_a_run_that_another_one_includes_is_not_queued(services: Services) -> None:
    first = services.jobs.score("entropy_segmentation", {}, "anna")
    assert "scorers" not in first.request
    with pytest.raises(AlreadyRunning):
        services.jobs.score("segmentation", {}, "anna")
    assert services.jobs.score("epistemic", {}, "anna").request["scorers"] == ["entropy", "epistemic"]
    with pytest.raises(AlreadyRunning):
        services.jobs.score("epistemic_segmentation", {}, "anna")


def test_a_scored_case_is_segmented_without_the_model(
    services: Services, due: DueJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queued(services, due)
    assert job is not None
    run(services, job)
    wanted = services.automatic.segment("segmentation", "case-4", {}, "anna")  # not scored yet
    monkeypatch.delattr(FakeAutomatic, "segment")
    for case_id in ("case-0", "case-1"):
        mask = services.automatic.segment("segmentation", case_id, {}, "anna")
        assert [segment.name for segment in mask.segments] == [segment.name for segment in wanted.segments]
        assert mask.labelmap().any()
    with pytest.raises(AttributeError):
        services.automatic.segment("segmentation", "case-3", {}, "anna")
