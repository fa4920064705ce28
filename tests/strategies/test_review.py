from __future__ import annotations

from app.core.pool import Pool, Score
from strategies.review import Review
from tests.strategies.pools import pool


def test_the_most_doubtful_label_first_with_what_is_doubtful() -> None:
    made = pool("abc", {"review:m": {0: 0.5, 1: 12.25, 2: -1.0}})
    scores = {"review:m": {**made.scores["review:m"], "1": Score(12.25, "m-7", "liver differs")}}
    picks = Review("m").rank(Pool(made.candidates, scores, made.labelled_patients, made.now, made.seed))
    assert [pick.case_id for pick in picks] == ["1", "0", "2"]
    assert picks[0].reason == "doubt 12.25, higher than 67% of the scored cases; scored by m-7; liver differs"
