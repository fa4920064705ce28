"""Cases: taking over what the archive lists, and what is offered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.catalog import Catalog
from app.catalog.cases import mark_served
from app.core.archive import Listing
from app.core.case import Case
from app.errors import UnknownCase

KEY = "sync"


def case(number: int, stamp: str = "1", patient: str = "") -> Case:
    return Case(id=f"1.2.{number}", kind="series", stamp=stamp, patient_id=patient or f"P{number}", modality="CT")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(tmp_path / "catalog.sqlite")


def listing(*cases: Case, gone: tuple[str, ...] = (), complete: bool = False) -> Listing:
    return Listing(cases, gone, cursor="7", complete=complete)


def test_listed_cases_come_back_as_they_were_in_their_order(catalog: Catalog) -> None:
    catalog.cases.apply(listing(case(3), case(1), case(2)), KEY)
    assert [row.case for row in catalog.cases.all()] == [case(3), case(1), case(2)]
    assert [c.case_id for c in catalog.cases.candidates()] == ["1.2.3", "1.2.1", "1.2.2"]
    assert catalog.cases.counts() == (3, 0)
    assert catalog.cases.cursor(KEY) == "7"


def test_complete_listing_marks_the_rest_as_gone_and_takes_it_back_when_listed_again(catalog: Catalog) -> None:
    catalog.cases.apply(listing(case(1), case(2)), KEY)
    catalog.cases.apply(listing(case(2), complete=True), KEY)
    assert [row.case.id for row in catalog.cases.all()] == ["1.2.2"]
    with pytest.raises(UnknownCase):
        catalog.cases.get("1.2.1")
    catalog.cases.apply(listing(case(1)), KEY)
    assert {row.case.id for row in catalog.cases.all()} == {"1.2.1", "1.2.2"}


def test_incomplete_listing_leaves_other_cases_alone(catalog: Catalog) -> None:
    catalog.cases.apply(listing(case(1), case(2)), KEY)
    catalog.cases.apply(listing(case(3), gone=("1.2.1",)), KEY)
    assert [row.case.id for row in catalog.cases.all()] == ["1.2.2", "1.2.3"]


def test_problem_ends_offers_until_the_images_change(catalog: Catalog) -> None:
    catalog.cases.apply(listing(case(1)), KEY)
    catalog.cases.mark_problem("1.2.1", "slices are missing")
    assert catalog.cases.candidates() == []
    catalog.cases.apply(listing(case(1)), KEY)
    assert catalog.cases.get("1.2.1").problem == "slices are missing"
    catalog.cases.apply(listing(case(1, stamp="2")), KEY)
    assert [c.case_id for c in catalog.cases.candidates()] == ["1.2.1"]


def test_warnings_found_when_reading_survive_a_sync(catalog: Catalog) -> None:
    catalog.cases.apply(listing(case(1)), KEY)
    catalog.cases.mark_warnings("1.2.1", ["a duplicate slice was dropped"])
    catalog.cases.apply(listing(case(1)), KEY)
    assert catalog.cases.get("1.2.1").case.warnings == ("a duplicate slice was dropped",)


def test_session_upload_is_never_offered_and_expires(catalog: Catalog) -> None:
    upload = replace(case(9), kind="file")
    catalog.cases.add_upload(upload, expires=100.0, offered=True)
    assert catalog.cases.candidates() == []
    assert catalog.cases.all() == []
    assert catalog.cases.counts() == (0, 0)
    assert [one.id for one in catalog.cases.expired(now=101.0)] == ["1.2.9"]
    assert catalog.cases.expired(now=99.0) == []


def test_upload_stays_when_the_archive_lists_everything(catalog: Catalog) -> None:
    catalog.cases.add_upload(replace(case(9), kind="file"), expires=None, offered=True)
    catalog.cases.apply(listing(case(1), complete=True), KEY)
    assert {row.case.id for row in catalog.cases.all()} == {"1.2.1", "1.2.9"}


def test_serving_is_noted_per_strategy(catalog: Catalog) -> None:
    catalog.cases.apply(listing(case(1)), KEY)
    for strategy, client in (("random", "anna"), ("first", "bo")):
        with catalog.database.write() as connection:
            mark_served(connection, "1.2.1", strategy, client)
    served_by = catalog.cases.get("1.2.1").served_by
    assert {name: note["client_id"] for name, note in served_by.items()} == {"random": "anna", "first": "bo"}
    assert catalog.cases.candidates()[0].served == pytest.approx(served_by["first"]["ts"], abs=2)


def test_patient_key_falls_back_to_study_then_case() -> None:
    assert Case(id="a", kind="file", stamp="").patient_key == "a"
    assert Case(id="a", kind="series", stamp="", study_uid="1.2").patient_key == "1.2"
    assert Case(id="a", kind="series", stamp="", study_uid="1.2", patient_id="P").patient_key == "P"


def test_a_page_is_a_part_of_what_matches(catalog: Catalog) -> None:
    cases = [replace(case(n), description=f"{'ABDOMEN' if n % 2 else 'head'} {n}%") for n in range(1, 6)]
    catalog.cases.apply(listing(*cases), KEY)

    def found(limit: int = 9, offset: int = 0, text: str = "") -> tuple[int, list[str]]:
        total, rows = catalog.cases.page(limit, offset, None, text)
        return total, [row.case.id for row in rows]

    assert found(limit=2, offset=1) == (5, ["1.2.2", "1.2.3"])
    assert found(text="abdo") == (3, ["1.2.1", "1.2.3", "1.2.5"])
    assert found(limit=1, offset=2, text="abdo") == (3, ["1.2.5"])
    assert found(text="p4") == (1, ["1.2.4"])
    assert found(text="4%") == (1, ["1.2.4"])
    assert found(text="a%n") == (0, [])
    assert catalog.cases.page(9, 0, True, "") == (0, [])
    assert catalog.cases.page(9, 0, False, "")[0] == 5


def test_a_page_has_neither_gone_cases_nor_session_images(catalog: Catalog) -> None:
    catalog.cases.apply(listing(case(1), case(2)), KEY)
    catalog.cases.remove("1.2.1")
    catalog.cases.add_upload(case(3), expires=2e9, offered=True)
    assert [row.case.id for row in catalog.cases.page(9, 0, None, "")[1]] == ["1.2.2"]
