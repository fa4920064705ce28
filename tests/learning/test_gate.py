from __future__ import annotations

import pytest

from app.learning.dataset import is_validation, split
from app.learning.gate import Measured, judge


def measured(cases: int = 5, **dice: float) -> Measured:
    return Measured(dice, cases)


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
        (measured(cases=0), measured(cases=0), True, "no validation patients"),
        (measured(cases=0), None, True, "no validation patients"),
    ],
)
def test_judge(candidate: Measured, served: Measured | None, publish: bool, said: str) -> None:
    verdict = judge(candidate, served, tolerance=0.005, class_tolerance=0.03)
    assert verdict.publish is publish, verdict.reason
    assert said in verdict.reason


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
