from __future__ import annotations

import pytest

from strategies.patient_random import PatientRandom
from tests.strategies.pools import pool


@pytest.mark.parametrize("seed", range(10))
def test_no_patient_twice_while_another_is_new(seed: int) -> None:
    picks = PatientRandom().rank(pool("aaaabcdd", labelled="d", seed=seed))
    patients = ["aaaabcdd"[int(pick.case_id)] for pick in picks]
    assert set(patients[:3]) == set("abc")
    assert sorted(patients[3:]) == list("aaadd")
    assert [pick.reason for pick in picks[2:4]] == ["random; a new patient", "random; no new patient is left"]


def test_chance_decides_within() -> None:
    assert len({PatientRandom().rank(pool("abcdef", seed=seed))[0].case_id for seed in range(50)}) == 6
