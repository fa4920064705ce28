from __future__ import annotations

from strategies.epistemic import Epistemic
from tests.strategies.pools import pool


def test_the_epistemic_score_counts_and_no_other() -> None:
    scores = {"epistemic:m": {0: 0.1, 1: 0.2}, "entropy:m": {0: 0.9, 1: 0.1}}
    picks = Epistemic("m").rank(pool("ab", scores))
    assert [pick.case_id for pick in picks] == ["1", "0"]
    assert picks[0].reason.startswith("disagreement 0.20, higher than 50%")
