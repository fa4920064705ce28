"""The outbox: what is tried again, for how long, and what waits for a person."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.archives.label_store import LabelStore
from app.archives.outbox import MAX_BACKOFF, OutboxWorker
from app.catalog import Catalog
from app.catalog.labels import NewLabel, StoredFile
from app.core.archive import Delivery, Fetched, Listing, Receipt
from app.core.case import Case
from app.core.label import Submission
from app.core.mask import Segment
from app.core.progress import Progress
from app.errors import (
    ArchiveRefuses,
    ArchiveUnavailable,
    BadFile,
    Conflict,
    IntegrityError,
    NotSupported,
    ResourceExhausted,
    UnknownCase,
)

FOREVER = 1e12
"""Seconds since the epoch by which everything that is ever tried again is due."""


@dataclass
class Archive:
    """Answers as it is told to: `errors` by the number of the label; it takes all others."""

    errors: dict[int, Exception] = field(default_factory=dict)
    stored: list[int] = field(default_factory=list)
    name: str = "told"

    def store(self, delivery: Delivery) -> Receipt:
        if delivery.number in self.errors:
            raise self.errors[delivery.number]
        self.stored.append(delivery.number)
        return Receipt(f"v{delivery.number}")

    def list(self, cursor: str | None) -> Listing:
        return Listing((), (), "")

    def fetch(self, case: Case, progress: Progress) -> Fetched:
        raise UnknownCase(case.id)

    def check(self) -> str:
        return ""

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Post:
    catalog: Catalog
    archive: Archive
    outbox_worker: OutboxWorker

    def submit(self, number: int) -> int:
        new = NewLabel("1.2.1", Submission("ana", ""), (Segment(1, "liver"),), {"liver": "segmented"}, f"sent {number}")
        return self.catalog.labels.append(new, number, StoredFile(f"{number}.dcm", "", f"2.25.{number}"), True).id

    def again(self) -> int:
        """A round in which everything that waits is due."""
        self.catalog.outbox.retry_now()
        return self.outbox_worker.deliver_due()


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    catalog = Catalog.open(tmp_path / "catalog.sqlite")
    catalog.cases.apply(Listing((Case("1.2.1", "series", "1"),), (), ""), "sync")
    archive = Archive()
    yield Post(catalog, archive, OutboxWorker(catalog, LabelStore(tmp_path, "labelmap"), lambda origin: archive))
    catalog.close()


@pytest.mark.parametrize(
    "error",
    [
        Conflict("another object is there"),
        ArchiveRefuses("it is too large"),
        IntegrityError("the file has changed"),
        NotSupported("no volume files"),
        BadFile("no DICOM SEG"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_waiting_does_not_mend_is_tried_once_and_kept(post: Post, error: Exception) -> None:
    label_id = post.submit(1)
    post.archive.errors[1] = error
    assert post.again() == 0
    assert post.catalog.outbox.due(FOREVER) == []
    (refused,) = post.catalog.outbox.refusals()
    assert (refused.label_id, refused.error, refused.attempts) == (label_id, str(error), 1)
    assert refused.advice
    assert post.catalog.labels.by_id(label_id).number == 1
    post.archive.errors.clear()
    assert post.again() == 0  # not by itself
    post.catalog.outbox.retry(label_id)
    assert post.outbox_worker.deliver_due() == 1
    assert post.archive.stored == [1]
    assert post.catalog.outbox.state().delivered == 1


@pytest.mark.parametrize(
    "error",
    [
        ArchiveUnavailable("away"),
        ResourceExhausted("full"),
        UnknownCase("not listed now"),
        OSError("the disk isn't mounted"),
        RuntimeError("a fault in a library"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_get_better_is_tried_for_ever(post: Post, error: Exception) -> None:
    post.submit(1)
    post.archive.errors[1] = error
    for _ in range(3):
        assert post.again() == 0
    (waiting,) = post.catalog.outbox.waiting()
    assert waiting.attempts == 3
    assert str(error) in waiting.error
    assert waiting.next_try > time.time()
    assert post.catalog.outbox.refusals() == []
    post.archive.errors.clear()
    assert post.again() == 1


def test_one_label_keeps_no_other_from_going(post: Post) -> None:
    for number in (1, 2, 3):
        post.submit(number)
    post.archive.errors = {1: RuntimeError("a fault"), 2: Conflict("another is there")}
    assert post.outbox_worker.deliver_due() == 1
    assert post.archive.stored == [3]


def test_an_archive_that_was_away_for_weeks_is_still_asked(post: Post) -> None:
    label_id = post.submit(1)
    post.archive.errors[1] = ArchiveUnavailable("away")
    with post.catalog.database.write() as connection:
        connection.exec_driver_sql("UPDATE outbox SET attempts = 5000")  # 2.0 ** 5000 is no number
    assert post.outbox_worker.deliver_due() == 0
    (waiting,) = post.catalog.outbox.waiting()
    assert (waiting.label_id, waiting.attempts) == (label_id, 5001)
    assert waiting.next_try - time.time() < 1.3 * MAX_BACKOFF


def test_the_archives_own_wish_for_a_wait_counts(post: Post) -> None:
    post.submit(1)
    post.archive.errors[1] = ArchiveUnavailable("busy", retry_after=300.0)
    post.outbox_worker.deliver_due()
    (waiting,) = post.catalog.outbox.waiting()
    assert 290 < waiting.next_try - time.time() < 310


def test_a_label_that_takes_long_keeps_no_other_from_going(post: Post) -> None:
    for number in (1, 2, 3):
        post.submit(number)
    release = threading.Event()
    store = post.archive.store

    def slow(delivery: Delivery) -> Receipt:
        if delivery.number == 1:
            assert release.wait(60)
        return store(delivery)

    post.archive.store = slow  # type: ignore[method-assign]
    first, *others = post.outbox_worker.start_due()
    assert [other.result(30) for other in others] == [True, True]
    post.submit(4)
    assert [other.result(30) for other in post.outbox_worker.start_due()] == [True]  # and 1 isn't sent twice
    release.set()
    assert first.result(30)
    assert sorted(post.archive.stored) == [1, 2, 3, 4]


def test_once_the_archive_answers_what_waited_for_it_goes_at_once(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2, 3):
        post.submit(number)
    post.archive.errors = {1: ArchiveUnavailable("away"), 2: ArchiveUnavailable("away"), 3: RuntimeError("a fault")}
    assert post.again() == 0
    with post.catalog.database.write() as connection:
        connection.exec_driver_sql("UPDATE outbox SET next_try = 1e12")
    post.archive.errors = {3: RuntimeError("a fault")}
    assert post.outbox_worker.deliver_due() == 0
    monkeypatch.setattr("app.archives.outbox.PROBE_SECONDS", 0.0)
    assert post.outbox_worker.deliver_due() == 1  # one to see whether it answers
    assert post.outbox_worker.deliver_due() == 1
    (waiting,) = post.catalog.outbox.waiting()
    assert (waiting.label_id, waiting.next_try) == (3, 1e12)  # nobody said that the archive was its trouble


def test_closing_waits_for_what_is_being_sent(post: Post) -> None:
    post.submit(1)
    release = threading.Event()
    store = post.archive.store

    def slow(delivery: Delivery) -> Receipt:
        assert release.wait(60)
        return store(delivery)

    post.archive.store = slow  # type: ignore[method-assign]
    post.outbox_worker.start_due()
    threading.Timer(0.2, release.set).start()
    post.outbox_worker.close()
    assert post.catalog.outbox.state().delivered == 1
    post.submit(2)
    assert post.outbox_worker.start_due() == []


def test_the_oldest_label_is_as_old_as_it_is(post: Post) -> None:
    post.submit(1)
    with post.catalog.database.write() as connection:
        connection.exec_driver_sql("UPDATE label SET created = created - 3600")
    post.submit(2)
    post.archive.errors = {1: ArchiveUnavailable("away"), 2: ArchiveUnavailable("away")}
    assert 3599 < post.catalog.outbox.state().oldest < 3700
    post.again()
    assert 3599 < post.catalog.outbox.state().oldest < 3700, "not since the last attempt"
    post.catalog.outbox.retry_now()
    assert 3599 < post.catalog.outbox.state().oldest < 3700, "not since the epoch"


def test_an_error_of_the_file_system_names_no_path(post: Post) -> None:
    post.submit(1)
    post.archive.errors[1] = FileNotFoundError(2, "No such file or directory", "/srv/segloop/labels/a.dcm")
    post.again()
    (waiting,) = post.catalog.outbox.waiting()
    assert waiting.error == "No such file or directory"
