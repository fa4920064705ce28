from __future__ import annotations

from strategies.entropy import Entropy
from tests.strategies.pools import pool


def ids(given: dict[int, float], patients: str = "abcde", labelled: str = "") -> str:
    ranked = Entropy("m").rank(pool(patients, {"entropy:m": given}, labelled))
    return "".join(pick.case_id for pick in ranked)


def test_highest_first() -> None:
    assert ids({0: 0.1, 1: 0.5, 2: 0.3, 3: 0.9, 4: 0.2}) == "31240"


def test_a_tie_goes_to_the_patient_of_whom_nothing_is_labelled() -> None:
    assert ids({0: 0.5, 1: 0.5, 2: 0.7, 3: 0.1, 4: 0.2}, labelled="a") == "21043"


def test_scores_are_compared_as_they_are() -> None:
    """The scores of a pool may differ by less than a hundredth."""
    assert ids({0: 0.504, 1: 0.501, 2: 0.5049, 3: 0.5048, 4: 0.5041}, labelled="c") == "23401"


def test_an_unscored_case_counts_as_middling() -> None:
    assert ids({0: 0.1, 1: 0.9, 2: 0.5, 4: 0.8}) == "14320"


def test_reasons() -> None:
    picks = Entropy("m").rank(pool("abc", {"entropy:m": {0: 0.312, 1: 0.1}}))
    assert [pick.reason for pick in picks] == [
        "entropy 0.31, higher than 50% of the scored cases; scored by m-7",
        "no entropy score yet; taken as middling",
        "entropy 0.10, higher than 0% of the scored cases; scored by m-7",
    ]


def test_without_scores_new_patients_come_first_and_the_reason_says_so() -> None:
    picks = Entropy("m").rank(pool("aab", {"entropy:other": {0: 1.0}}, labelled="a"))
    assert picks[0].case_id == "2"
    assert picks[0].reason == "no case has a score of entropy:m yet; random; a new patient"
