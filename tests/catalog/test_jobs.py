"""Jobs: states, order, and what becomes of one whose process dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.catalog import Catalog
from app.catalog.jobs import MAX_ATTEMPTS
from app.errors import AlreadyRunning


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(tmp_path / "catalog.sqlite")


def test_one_of_a_kind_and_name_at_a_time(catalog: Catalog) -> None:
    job = catalog.jobs.add("train", "segmentation", {"max_epochs": 3})
    with pytest.raises(AlreadyRunning):
        catalog.jobs.add("train", "segmentation", {})
    catalog.jobs.add("train", "deepedit", {})
    catalog.jobs.finish(job.id, "done", {"dice": 0.5})
    again = catalog.jobs.add("train", "segmentation", {})
    assert catalog.jobs.get(job.id).result == {"dice": 0.5}
    assert again.id != job.id


def test_higher_priority_goes_first_then_the_older(catalog: Catalog) -> None:
    slow = catalog.jobs.add("train", "a", {}, priority=0)
    quick = catalog.jobs.add("score", "a", {}, priority=1)
    assert catalog.jobs.next_queued() == quick
    catalog.jobs.started(quick.id, 1, 1.0)
    assert catalog.jobs.next_queued() == slow


def test_process_that_dies_is_tried_again_a_few_times(catalog: Catalog) -> None:
    job = catalog.jobs.add("train", "a", {})
    for attempt in range(1, MAX_ATTEMPTS + 1):
        catalog.jobs.started(job.id, 1, 1.0)
        assert catalog.jobs.get(job.id).attempt == attempt
        state = catalog.jobs.process_died(job.id, "killed")
    assert state == "failed"
    assert catalog.jobs.get(job.id).error == "killed"


def test_stop_of_a_waiting_job_is_at_once_and_of_a_running_one_at_its_next_step(catalog: Catalog) -> None:
    waiting = catalog.jobs.add("train", "a", {})
    assert catalog.jobs.request_stop(waiting.id).state == "stopped"
    running = catalog.jobs.add("train", "a", {})
    catalog.jobs.started(running.id, 1, 1.0)
    assert catalog.jobs.progress(running.id, 0.5) is False
    assert catalog.jobs.request_stop(running.id).state == "running"
    assert catalog.jobs.progress(running.id, 0.6) is True
    assert catalog.jobs.process_died(running.id, "ended") == "stopped"


def test_first_end_counts(catalog: Catalog) -> None:
    job = catalog.jobs.add("train", "a", {})
    catalog.jobs.finish(job.id, "done", {"n": 1})
    catalog.jobs.finish(job.id, "failed", {}, "late")
    assert (catalog.jobs.get(job.id).state, catalog.jobs.get(job.id).error) == ("done", "")


def test_events_are_read_from_where_one_left_off(catalog: Catalog) -> None:
    job = catalog.jobs.add("train", "a", {})
    for number in range(3):
        catalog.jobs.note(job.id, "epoch", {"epoch": number})
    events = catalog.jobs.events(job.id)
    assert [data["epoch"] for _, _, data in events] == [0, 1, 2]
    assert [data["epoch"] for _, _, data in catalog.jobs.events(job.id, after=events[0][0])] == [1, 2]


def test_another_process_sees_the_same_table(tmp_path: Path, catalog: Catalog) -> None:
    job = catalog.jobs.add("train", "a", {})
    other = Catalog.open(tmp_path / "catalog.sqlite")
    other.jobs.progress(job.id, 0.25)
    assert catalog.jobs.get(job.id).progress == 0.25
