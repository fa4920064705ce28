"""Every strategy is asked the same questions."""

from __future__ import annotations

import time
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from app.core.pool import Strategy
from app.project import plugins
from tests.strategies.pools import large, pool

FOUND = plugins.strategies().found


@pytest.fixture(params=sorted(FOUND))
def strategy(request: pytest.FixtureRequest) -> Strategy:
    made: Strategy = FOUND[request.param].create({"model": "m"})
    return made


def test_names_cases_of_the_pool_once_with_a_reason(strategy: Strategy) -> None:
    given = pool("aabbccdd", {"entropy:m": {0: 0.5, 3: 0.2}, "epistemic:m": {1: 0.5}}, labelled="a")
    picks = strategy.rank(given)
    ids = [pick.case_id for pick in picks]
    assert len(ids) == len(set(ids)) >= 1
    assert set(ids) <= {one.case_id for one in given.candidates}
    assert all(pick.reason for pick in picks)


def test_a_pool_of_one_and_a_pool_of_none(strategy: Strategy) -> None:
    assert [pick.case_id for pick in strategy.rank(pool("a"))] == ["0"]
    assert list(strategy.rank(pool(""))) == []


def test_the_same_pool_gives_the_same_answer(strategy: Strategy) -> None:
    for seed in (0, 1):
        assert list(strategy.rank(pool("abcdef", seed=seed))) == list(strategy.rank(pool("abcdef", seed=seed)))


def test_ten_thousand_cases_in_ten_milliseconds(strategy: Strategy) -> None:
    given = large()
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        picks = strategy.rank(given)
        best = min(best, time.perf_counter() - start)
    assert len(picks) >= 1
    assert best < 0.010


def test_is_frozen(strategy: Strategy) -> None:
    for field in fields(strategy):  # type: ignore[arg-type]
        with pytest.raises(FrozenInstanceError):
            setattr(strategy, field.name, "x")


@pytest.mark.parametrize("name", sorted(FOUND))
def test_is_one_small_file(name: str) -> None:
    file = Path(__file__).parents[2] / "strategies" / f"{name}.py"
    assert len(file.read_text().splitlines()) < 50
    assert FOUND[name].description.endswith(".")
