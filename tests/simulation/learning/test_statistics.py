from __future__ import annotations

import numpy as np
import pytest

from app.simulation.learning.statistics import area_under, bootstrap_interval, compared, curves_of, difference
from tests.simulation.learning.tiny import run


def test_the_area_is_the_mean_dice_over_the_labels() -> None:
    assert area_under(run("a", 0, [0.5, 0.5, 0.5])) == pytest.approx(0.5)
    assert area_under(run("a", 0, [0.0, 0.4, 0.8])) == pytest.approx(0.4)
    assert area_under(run("a", 0, [0.2, 0.6, 0.6])) == pytest.approx((0.4 + 0.6) / 2)
    assert area_under(run("a", 0, [0.3])) == 0.3  # a pool that was used up at once


def test_the_interval_of_a_mean() -> None:
    assert bootstrap_interval(np.full(5, 0.1)) == pytest.approx((0.1, 0.1))
    values = np.random.default_rng(1).normal(0.0, 1.0, 400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))  # the normal approximation, which holds at this size
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_a_difference_that_every_seed_shows() -> None:
    found = difference([(0.7, 0.6), (0.8, 0.69), (0.5, 0.41)])
    assert found.mean == pytest.approx(0.1)
    assert (found.wins, found.seeds, found.verdict) == (3, 3, "better")
    assert difference([(0.6, 0.7), (0.6, 0.72)]).verdict == "worse"


def test_what_is_undecided_says_how_many_seeds_it_takes() -> None:
    found = difference([(0.2, 0.0), (0.0, 0.1)])
    # sd 0.2121 and mean 0.05: (2.802 * 0.2121 / 0.05)^2 = 141.3
    assert found.verdict == "undecided; about 142 seeds"
    assert difference([(0.9, 0.1)]).verdict == "undecided"
    with pytest.raises(ValueError, match="both"):
        difference([])


def test_strategies_are_compared_on_the_seeds_they_share() -> None:
    rounds = [*run("a", 0, [0.2, 0.8]), *run("a", 1, [0.4, 0.6]), *run("b", 1, [0.2, 0.2]), *run("b", 2, [1.0, 1.0])]
    curves = curves_of(rounds)
    area, final = compared(curves, "a", "b")
    assert (area.seeds, area.mean) == (1, pytest.approx(0.3))
    assert final.mean == pytest.approx(0.4)
