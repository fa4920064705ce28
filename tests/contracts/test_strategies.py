"""Every strategy is asked the same questions."""

from __future__ import annotations

import ast
import inspect
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from app import plugins
from app.core.pool import Strategy
from tests.counting import calls
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


def test_ten_thousand_cases_take_a_few_calls_each(strategy: Strategy) -> None:
    """Somebody waits for the next case. These are a few milliseconds."""
    given = large(10_000)
    picks = strategy.rank(given)
    assert len(picks) >= 1
    assert calls(lambda: strategy.rank(given)) < 3 * len(given.candidates)


def test_twice_the_cases_are_twice_the_work(strategy: Strategy) -> None:
    few, many = large(5_000), large(10_000)
    assert calls(lambda: strategy.rank(many)) < 2.5 * calls(lambda: strategy.rank(few))


def test_is_frozen(strategy: Strategy) -> None:
    for field in fields(strategy):  # type: ignore[arg-type]
        with pytest.raises(FrozenInstanceError):
            setattr(strategy, field.name, "x")


@pytest.mark.parametrize("name", sorted(FOUND))
def test_is_one_file_with_one_class(name: str) -> None:
    """What ranks is one class; everything else in the file is that class's own, and what strategies share is core's."""
    file = Path(__file__).parents[2] / "strategies" / f"{name}.py"
    made = type(FOUND[name].create({"model": "m"}))
    assert Path(inspect.getsourcefile(made) or "") == file
    tree = ast.parse(file.read_text())
    public = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    ]
    assert public == [made.__name__]
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not any(module.startswith("strategies") for module in imported)
    assert FOUND[name].description.endswith(".")
