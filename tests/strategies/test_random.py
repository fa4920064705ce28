from __future__ import annotations

from collections import Counter

from strategies.random import Random
from tests.strategies.pools import NOW, pool


def test_a_case_just_offered_hardly_ever_comes_first() -> None:
    firsts = Counter(Random().rank(pool("abc", served={0: NOW - 1}, seed=seed))[0].case_id for seed in range(300))
    assert firsts["0"] == 0
    assert 100 < firsts["1"] < 200


def test_twice_the_wait_is_twice_as_likely() -> None:
    served = {0: NOW - 1000, 1: NOW - 2000}
    firsts = Counter(Random().rank(pool("ab", served=served, seed=seed))[0].case_id for seed in range(3000))
    assert 1.8 < firsts["1"] / firsts["0"] < 2.2


def test_reasons() -> None:
    picks = {p.case_id: p.reason for p in Random().rank(pool("ab", served={0: NOW - 5400}))}
    assert picks == {"0": "random; last offered 1.5 h ago", "1": "random; never offered before"}
