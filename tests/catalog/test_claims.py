"""Claims: two annotators never hold the same case."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from app.catalog import Catalog
from app.core.archive import Listing
from app.core.case import Case
from app.core.pool import Pick


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return with_cases(tmp_path)


def with_cases(folder: Path) -> Catalog:
    catalog = Catalog.open(folder / "catalog.sqlite")
    catalog.cases.apply(Listing(tuple(Case(f"c{n:03}", "series", "1") for n in range(200)), (), ""), "sync")
    return catalog


def claim(catalog: Catalog, holder: str, now: float = 0.0):
    def choose(held: frozenset[str]) -> list[Pick]:
        return [Pick(one.case_id, "first") for one in catalog.cases.candidates()]

    return catalog.claims.claim(holder, "first", now, 60.0, choose)


def test_same_holder_gets_the_same_case_and_others_another(catalog: Catalog) -> None:
    assert [claim(catalog, who).case_id for who in ("anna", "bo", "anna", "cy")] == ["c000", "c001", "c000", "c002"]


def test_claim_ends_by_time_and_asking_again_renews_it(catalog: Catalog) -> None:
    claim(catalog, "anna", now=0)
    claim(catalog, "anna", now=50)
    assert claim(catalog, "bo", now=100).case_id == "c001"
    assert claim(catalog, "cy", now=111).case_id == "c000"


def test_released_case_is_free(catalog: Catalog) -> None:
    claim(catalog, "anna")
    catalog.claims.release("c000")
    assert claim(catalog, "bo").case_id == "c000"


def test_case_that_went_away_is_not_given_back_to_its_holder(catalog: Catalog) -> None:
    claim(catalog, "anna")
    catalog.cases.remove("c000")
    assert claim(catalog, "anna").case_id == "c001"


def test_eight_threads_claim_two_hundred_different_cases(catalog: Catalog) -> None:
    got: list[str] = []

    def work(thread: int) -> None:
        for number in range(25):
            got.append(claim(catalog, f"{thread}-{number}").case_id)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [f"c{n:03}" for n in range(200)]
    assert claim(catalog, "late") is None


def test_a_case_is_released_by_its_holder_alone(catalog: Catalog) -> None:
    claim(catalog, "anna")
    catalog.claims.release("c000", "bo")
    assert claim(catalog, "bo").case_id == "c001"
    catalog.claims.release("c000", "anna")
    assert claim(catalog, "cy").case_id == "c000"
