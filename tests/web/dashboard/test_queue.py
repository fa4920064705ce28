"""Pages of the queue, and what stands beside a case."""

from __future__ import annotations

from app.core.case import CaseClaim
from app.core.pool import Pick
from app.web.dashboard.work import PAGE, Queue, Scored, held, page_of, place
from tests.web.dashboard.values import CASE, named

PICKS = [Pick(str(n), "first") for n in range(2 * PAGE + 1)]


def test_pages() -> None:
    assert page_of(PICKS, 1) == (1, 3, PICKS[:PAGE])
    assert page_of(PICKS, 3) == (3, 3, PICKS[-1:])


def test_a_page_that_is_not_there_is_the_nearest() -> None:
    assert page_of(PICKS, 99)[0] == 3
    assert page_of(PICKS, -1)[0] == 1
    assert page_of([], 5) == (1, 1, [])


def test_scores_and_the_worst_slice_of_the_highest_one() -> None:
    details = {
        "epistemic:seg": {"value": 0.2, "model_version": "seg-2", "slices": [3, 1]},
        "entropy:seg": {"value": 0.6, "model_version": "seg-2", "slices": [7]},
    }
    row = place(4, Pick("x", "because"), CASE, details)
    assert row.scores == (Scored("entropy:seg", 0.6, "seg-2"), Scored("epistemic:seg", 0.2, "seg-2"))
    assert (row.number, row.slice, row.reason, row.case) == (4, 7, "because", CASE)


def test_without_slices_none_is_named() -> None:
    assert (
        place(1, Pick("x", ""), CASE, {"entropy:seg": {"value": 0, "model_version": "s", "slices": []}}).slice is None
    )
    assert place(1, Pick("x", ""), CASE, {}).slice is None


def test_slice_nought_is_a_slice() -> None:
    assert place(1, Pick("x", ""), CASE, {"e": {"value": 0.1, "model_version": "s", "slices": [0]}}).slice == 0


def test_an_order_by_chance_is_told() -> None:
    def queue(reason: str) -> Queue:
        rows = (place(1, Pick("x", reason), CASE, {}),)
        return Queue("s", {"s": ""}, rows, (), page=1, pages=1, ranked=1, waiting=1)

    assert queue("random; a new patient").random
    assert not queue("first in the archive's order").random


def test_whose_a_case_is() -> None:
    row = held(CaseClaim("x", "anna", "first", "the first", 86400.0), named("x"))
    assert (row.holder, row.until.isoformat()) == ("anna", "1970-01-02T00:00:00+00:00")
