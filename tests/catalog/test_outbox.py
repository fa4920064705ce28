"""What waits for the archive, and what it has."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.catalog import Catalog
from app.catalog.labels import NewLabel, StoredFile
from app.core.archive import Listing
from app.core.case import Case
from app.core.label import Submission
from app.core.mask import Segment
from app.errors import Conflict, UnknownLabel


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog.open(tmp_path / "catalog.sqlite")
    catalog.cases.apply(Listing((Case("1.2.1", "series", "1"),), (), ""), "sync")
    return catalog


def append(catalog: Catalog, number: int, author: str = "anna", deliver: bool = True) -> int:
    new = NewLabel("1.2.1", Submission(author, ""), (Segment(1, "liver"),), {"liver": "segmented"}, f"sent {number}")
    return catalog.labels.append(new, number, StoredFile(f"{number}.dcm", f"{number}", f"2.25.{number}"), deliver).id


def test_what_waits_is_told_oldest_first(catalog: Catalog) -> None:
    start = time.time()
    first, second = append(catalog, 1), append(catalog, 2)
    append(catalog, 3, deliver=False)
    catalog.outbox.failed(second, "full", next_try=5e9)
    waiting = catalog.outbox.waiting()
    assert [(one.label_id, one.attempts, one.error) for one in waiting] == [(first, 0, ""), (second, 1, "full")]
    assert waiting[1].next_try == 5e9
    assert all(start <= one.created <= time.time() for one in waiting)
    assert len(catalog.outbox.waiting(limit=1)) == 1
    catalog.outbox.delivered(first, "there")
    assert [one.label_id for one in catalog.outbox.waiting()] == [second]


def test_what_was_refused_waits_for_a_person_and_not_for_the_clock(catalog: Catalog) -> None:
    first, second = append(catalog, 1), append(catalog, 2)
    catalog.outbox.refused(second, "it is\ntoo large", "Make room.")
    assert catalog.outbox.due(time.time() + 1e9) == [(first, 0)]
    catalog.outbox.retry_now()
    assert catalog.outbox.due(time.time()) == [(first, 0)]
    (one,) = catalog.outbox.refusals()
    assert (one.label_id, one.state, one.attempts) == (second, "refused", 1)
    assert (one.error, one.advice) == ("it is too large", "Make room.")
    assert [row.label_id for row in catalog.outbox.undelivered(10)] == [first, second]
    state = catalog.outbox.state()
    assert (state.waiting, state.refused, state.delivered) == (1, 1, 0)
    again = catalog.outbox.retry(second)
    assert (again.state, again.error, again.advice) == ("waiting", "it is too large", "")
    assert catalog.outbox.due(time.time() + 1) == [(first, 0), (second, 1)]


def test_everything_that_was_refused_is_tried_again_at_once(catalog: Catalog) -> None:
    labels = [append(catalog, number) for number in (1, 2, 3)]
    for label_id in labels[:2]:
        catalog.outbox.refused(label_id, "no", "")
    catalog.outbox.failed(labels[2], "away", next_try=5e9)
    assert catalog.outbox.retry_all() == 2
    assert [label_id for label_id, _ in catalog.outbox.due(time.time() + 1)] == labels[:2]
    assert catalog.outbox.retry_all() == 0


def test_only_what_is_on_its_way_is_tried_again(catalog: Catalog) -> None:
    there, stays = append(catalog, 1), append(catalog, 2, deliver=False)
    catalog.outbox.delivered(there, "there")
    with pytest.raises(Conflict):
        catalog.outbox.retry(there)
    for label_id in (stays, 99):
        with pytest.raises(UnknownLabel):
            catalog.outbox.retry(label_id)
    assert catalog.outbox.states([there]) == {there: "delivered"}


def test_what_became_of_labels(catalog: Catalog) -> None:
    first, second, third = append(catalog, 1), append(catalog, 2, deliver=False), append(catalog, 3)
    catalog.outbox.delivered(third, "there")
    assert catalog.outbox.states([third, first, second, 99]) == {first: "waiting", third: "delivered"}
    assert catalog.outbox.states([third]) == {third: "delivered"}
    assert catalog.outbox.states([]) == {}


def test_labels_newest_first_and_those_after_one(catalog: Catalog) -> None:
    assert catalog.labels.newest_id() == 0
    ids = [append(catalog, 1, "anna"), append(catalog, 2, "bo"), append(catalog, 3, "anna")]
    labels = catalog.labels
    assert labels.newest_id() == ids[2]
    assert [one.id for one in labels.newest_first()] == ids[::-1]
    assert [one.id for one in labels.newest_first(author="anna", limit=1)] == [ids[2]]
    assert labels.newest_first(since=time.time() + 60) == []
    assert [one.id for one in labels.after(ids[0])] == ids[1:]
    assert [one.id for one in labels.after(ids[0], limit=1)] == ids[1:2]
    labels.delete("1.2.1", "final", "bo")
    assert (labels.newest_first(), labels.after(0), labels.newest_id()) == ([], [], ids[2])
