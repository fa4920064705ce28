"""Label versions: numbers, retries, tombstones, the outbox row and the audit trail."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.catalog import Catalog
from app.catalog.labels import NewLabel, StoredFile
from app.catalog.schema import audit
from app.core.archive import Listing
from app.core.case import Case
from app.core.label import Submission
from app.core.mask import Code, Segment
from app.errors import Conflict, UnknownLabel

ANNAS = Submission("anna", "slicer", "final", "nninteractive", "1", info={"level": "easy"})
NEW = NewLabel(
    case_id="1.2.1",
    submission=ANNAS,
    segments=(Segment(1, "liver", type=Code("10200004", "SCT", "Liver"), color=(1, 2, 3)), Segment(2, "spleen")),
    states={"liver": "segmented", "spleen": "absent"},
    submitted_sha256="aa",
)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog.open(tmp_path / "catalog.sqlite")
    catalog.cases.apply(Listing((Case("1.2.1", "series", "1"), Case("1.2.2", "series", "1")), (), ""), "sync")
    return catalog


def stored(number: int) -> StoredFile:
    return StoredFile(f"v{number}.dcm", f"sha{number}", f"2.25.{number}")


def append(catalog: Catalog, new: NewLabel = NEW, deliver: bool = True):
    number = catalog.labels.next_number(new.case_id, new.tag)
    return catalog.labels.append(new, number, stored(number), deliver)


def test_version_comes_back_whole(catalog: Catalog) -> None:
    label = append(catalog)
    assert (label.number, label.segments, label.sha256) == (1, NEW.segments, "sha1")
    assert label.states == {"liver": "segmented", "spleen": "absent"}
    assert catalog.labels.newest("1.2.1", "final") == label
    assert catalog.labels.info(label.id) == {"level": "easy"}


def test_other_bytes_are_another_version_and_the_first_stays(catalog: Catalog) -> None:
    first = append(catalog)
    second = append(catalog, replace(NEW, submitted_sha256="bb"))
    assert (first.number, second.number) == (1, 2)
    assert catalog.labels.history("1.2.1") == [first, second]


def test_retry_of_the_same_bytes_is_the_same_version(catalog: Catalog) -> None:
    assert append(catalog) == append(catalog)
    assert len(catalog.labels.history("1.2.1")) == 1
    assert catalog.outbox.state().waiting == 1


def test_same_bytes_from_another_author_or_after_another_version_are_news(catalog: Catalog) -> None:
    append(catalog)
    assert append(catalog, replace(NEW, submission=replace(ANNAS, author="bo"))).number == 2
    assert append(catalog).number == 3


def test_taken_number_is_a_conflict_that_changes_nothing(catalog: Catalog) -> None:
    append(catalog)
    with pytest.raises(Conflict):
        catalog.labels.append(replace(NEW, submitted_sha256="bb"), 1, stored(1), deliver=True)
    assert len(catalog.labels.history("1.2.1")) == 1


def test_final_label_completes_the_case_and_a_tombstone_takes_that_back(catalog: Catalog) -> None:
    append(catalog, replace(NEW, submission=replace(ANNAS, tag="original")), deliver=False)
    assert catalog.cases.counts() == (2, 0)
    append(catalog)
    assert catalog.cases.counts() == (2, 1)
    assert [c.case_id for c in catalog.cases.candidates()] == ["1.2.2"]
    assert catalog.labels.delete("1.2.1", "final", "admin") == 1
    assert catalog.cases.counts() == (2, 0)
    with pytest.raises(UnknownLabel):
        catalog.labels.newest("1.2.1", "final")
    assert [label.deleted for label in catalog.labels.history("1.2.1")] == [False, True]


def test_numbers_go_on_after_a_tombstone(catalog: Catalog) -> None:
    append(catalog)
    catalog.labels.delete("1.2.1", "final", "admin")
    assert append(catalog).number == 2


def test_only_what_is_to_be_delivered_waits_in_the_outbox(catalog: Catalog) -> None:
    append(catalog, replace(NEW, submission=replace(ANNAS, tag="original")), deliver=False)
    assert catalog.outbox.state().waiting == 0
    label = append(catalog)
    assert catalog.outbox.due(now=label.created.timestamp() + 1) == [(label.id, 0)]
    catalog.outbox.failed(label.id, "away", next_try=1e12)
    assert catalog.outbox.due(now=1e11) == []
    catalog.outbox.retry_now()
    assert catalog.outbox.due(now=1.0) == [(label.id, 1)]
    catalog.outbox.delivered(label.id, "there")
    assert (catalog.outbox.state().waiting, catalog.outbox.state().delivered) == (0, 1)


def test_fifty_writers_get_fifty_numbers(catalog: Catalog) -> None:
    def submit(who: int) -> None:
        new = replace(NEW, submission=replace(ANNAS, author=f"a{who}"), submitted_sha256=f"{who}")
        while True:
            try:
                append(catalog, new)
            except Conflict:
                continue
            return

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history = catalog.labels.history("1.2.1")
    assert [label.number for label in history] == list(range(1, 51))
    assert len({label.author for label in history}) == 50


def test_audit_trail_shows_a_later_edit(catalog: Catalog) -> None:
    append(catalog)
    append(catalog, replace(NEW, submitted_sha256="bb"))
    catalog.labels.delete("1.2.1", "final", "admin")
    assert catalog.audit.first_broken_row() is None
    with catalog.database.write() as connection:
        connection.execute(sa.update(audit).where(audit.c.id == 2).values(who="nobody"))
    assert catalog.audit.first_broken_row() == 2


def test_structures_are_named_in_the_order_they_came(catalog: Catalog) -> None:
    append(catalog)
    append(catalog, replace(NEW, case_id="1.2.2", segments=(Segment(1, "kidney"), Segment(2, "liver"))))
    assert catalog.labels.structures() == ["liver", "spleen", "kidney"]
