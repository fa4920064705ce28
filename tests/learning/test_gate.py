from __future__ import annotations

import numpy as np
import pytest

from app.learning.dataset import halves, is_validation, split
from app.learning.gate import Found, Measured, Rule, interval, judge

RULE = Rule(tolerance=0.005, class_tolerance=0.03, patients=5)


def measured(cases: int = 5, **dice: float) -> Measured:
    """The same Dice in a case each of so many patients."""
    found = [Found(f"p{n}", f"c{n}", name, value) for n in range(cases) for name, value in dice.items()]
    return Measured(found, cases)


def by_patient(**dice: list[float]) -> Measured:
    """A structure's Dice in one case of each patient."""
    found = [Found(f"p{n}", f"c{n}", name, value) for name, some in dice.items() for n, value in enumerate(some)]
    return Measured(found, len({one.case_id for one in found}))


@pytest.mark.parametrize(
    ("candidate", "served", "publish", "said"),
    [
        (measured(liver=0.90, spleen=0.80), measured(liver=0.88, spleen=0.80), True, "0.850, served version 0.840"),
        (measured(liver=0.90, spleen=0.79), measured(liver=0.90, spleen=0.80), True, "0.845"),  # exactly 0.005 less
        (measured(liver=0.90, spleen=0.78), measured(liver=0.90, spleen=0.80), False, "worse"),
        (
            measured(liver=0.99, spleen=0.76),
            measured(liver=0.90, spleen=0.80),
            False,
            "spleen fell from 0.800 to 0.760",
        ),
        (measured(liver=0.99, spleen=0.77), measured(liver=0.90, spleen=0.80), True, "0.880"),  # exactly 0.03 less
        (measured(liver=0.90, tumour=0.10), measured(liver=0.90), True, "0.900"),  # a new structure only adds
        (measured(tumour=0.10), measured(liver=0.90), True, "none of its structures"),
        (measured(liver=0.01), None, True, "first version"),
        (measured(liver=0.0), None, False, "finds nothing"),
        (measured(cases=0), measured(cases=0), False, "no validation patients"),
        (measured(cases=0), None, True, "no validation patients"),
    ],
)
def test_judge(candidate: Measured, served: Measured | None, publish: bool, said: str) -> None:
    verdict = judge(candidate, served, RULE)
    assert verdict.publish is publish, verdict.reason
    assert said in verdict.reason


def test_below_the_smallest_number_of_patients_a_person_publishes_what_is_not_the_first() -> None:
    better, served = measured(4, liver=0.9), measured(4, liver=0.5)
    verdict = judge(better, served, RULE)
    assert not verdict.publish
    assert "4 of the 5 validation patients" in verdict.reason
    assert "worse" not in verdict.reason
    assert "worse" in judge(served, better, RULE).reason
    assert not judge(measured(4, tumour=0.9), served, RULE).publish
    assert judge(better, None, RULE).publish
    assert judge(better, served, Rule(0.005, 0.03, patients=4)).publish


def test_a_difference_that_may_be_chance_is_left_to_a_person() -> None:
    served = by_patient(liver=[0.8, 0.8, 0.8, 0.8, 0.8, 0.8])
    lucky = by_patient(liver=[0.9, 0.7, 0.9, 0.7, 0.9, 0.75])  # +0.008 on average, -0.1 to +0.1
    verdict = judge(lucky, served, RULE)
    assert not verdict.publish
    assert "may be worse" in verdict.reason
    better = by_patient(liver=[0.83, 0.81, 0.82, 0.81, 0.83, 0.82])
    assert judge(better, served, RULE).publish


def test_a_structure_may_only_seem_to_have_lost() -> None:
    liver = [0.8] * 6
    served = by_patient(liver=liver, spleen=[0.8] * 6)
    by_chance = by_patient(liver=[0.97] * 6, spleen=[0.82, 0.82, 0.81, 0.82, 0.81, 0.5])  # -0.037, in one patient
    assert judge(by_chance, served, RULE).publish
    for_all = by_patient(liver=[0.9] * 6, spleen=[0.76] * 6)
    assert "spleen fell" in judge(for_all, served, RULE).reason
    # Of a structure that few patients have, chance can't be told.
    rare = judge(by_patient(liver=[0.99] * 6, spleen=[0.82, 0.70]), by_patient(liver=liver, spleen=[0.8, 0.8]), RULE)
    assert "spleen fell" in rare.reason


def test_cases_of_one_patient_count_as_one_patient() -> None:
    found = [Found("p", f"c{n}", "liver", 0.9) for n in range(8)]
    assert "1 of the 5" in judge(Measured(found, 8), measured(liver=0.1), RULE).reason


def test_the_interval_is_that_of_the_mean_over_patients() -> None:
    values = np.random.default_rng(3).normal(0.02, 0.1, (300, 1))
    found = interval(values)
    half = 1.645 * values.std(ddof=1) / np.sqrt(300)  # the normal approximation at 90 %
    assert (found.mean, found.patients) == (pytest.approx(values.mean()), 300)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.001)


def test_structures_count_equally_however_many_patients_have_them() -> None:
    values = np.array([[0.1, np.nan], [0.1, np.nan], [0.1, 0.4], [np.nan, np.nan]])
    assert interval(values).mean == pytest.approx(0.25)
    assert interval(values).patients == 3
    assert interval(np.full((2, 1), np.nan)).patients == 0


KNOWN = ["P11", "P12", "P13", "P19"]
"""Of P0 to P19. Pinned: a change would move patients from training to validation in every project there is."""


def test_sides_are_known_values_and_never_change() -> None:
    # sha256("abc") is the example of FIPS 180-4: ...15ad; its last hex digits decide mod 2 and mod 16.
    assert not is_validation("abc", 2)
    assert [name for name in (f"P{n}" for n in range(20)) if is_validation(name, 5)] == KNOWN


def test_split_by_patient() -> None:
    cases = [(f"P{n}", n) for n in range(20)]
    learn, validation = split(cases, 5)
    assert [f"P{n}" for n in validation] == KNOWN
    assert sorted([*learn, *validation]) == list(range(20))
    assert split(reversed(cases), 5)[1] == list(reversed(validation))


def test_reserved_patients_are_for_validation_too() -> None:
    cases = [(f"P{n}", n) for n in range(20)]
    assert [f"P{n}" for n in split(cases, 5, {"P0"})[1]] == ["P0", *KNOWN]


def test_the_epoch_is_chosen_on_other_patients_than_the_gate_looks_at_if_there_are_enough() -> None:
    cases = [(f"P{n}", f"{n}{visit}") for n in range(12) for visit in "ab"]
    epoch, gate = halves(cases, least=4)
    assert sorted([*epoch, *gate]) == sorted(case for _, case in cases)
    assert not {case[:-1] for case in epoch} & {case[:-1] for case in gate}
    assert halves([*cases, ("P99", "99a")], least=4)[0][: len(epoch)] == epoch  # nobody changes sides
    everyone = [case for _, case in cases]
    assert halves(cases, least=7) == (everyone, everyone)
    assert halves([], least=1) == ([], [])
