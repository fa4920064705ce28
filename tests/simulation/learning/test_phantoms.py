"""The phantoms, and what the scenarios say about them."""

from __future__ import annotations

from collections import Counter
from math import isclose

import numpy as np
import pytest

from app.simulation.learning.phantoms import SHAPE, held_out_cases, pool_of
from app.simulation.learning.scenarios import FOUR_ANNOTATORS, NO_REDUNDANCY, REDUNDANT, SCENARIOS, STRUCTURES

assert REDUNDANT.phantoms is not None
assert NO_REDUNDANCY.phantoms is not None


def voxels(cases: list) -> list[int]:
    """How many voxels each structure has in all cases."""
    return [sum(int(one.mask.voxels_of(n).sum()) for one in cases) for n in range(1, len(STRUCTURES) + 1)]


def test_the_pool_and_the_test_cases_are_those_of_the_prototype() -> None:
    """Counted in the cases that the prototype's own code makes with the same seeds."""
    assert voxels(pool_of(REDUNDANT.phantoms, 0)) == [26762, 6576, 6596, 3248, 472]
    assert voxels(held_out_cases(REDUNDANT.phantoms)) == [13163, 2994, 3291, 1563, 986]


@pytest.mark.parametrize("seed", [0, 5])
def test_half_of_the_cases_are_follow_ups_of_six_patients(seed: int) -> None:
    pool = pool_of(REDUNDANT.phantoms, seed)
    counts = Counter(one.patient for one in pool)
    assert (len(pool), len(counts), len({one.id for one in pool})) == (72, 36, 72)
    assert sorted(counts.values()) == [1] * 30 + [7] * 6
    followed_up = [one for one in pool if counts[one.patient] == 7]
    assert {one.kind for one in followed_up} == {"contrast-enhanced"}
    assert voxels(followed_up)[4] == 0


def test_without_redundancy_every_case_is_of_another_patient() -> None:
    pool = pool_of(NO_REDUNDANCY.phantoms, 0)
    assert (len(pool), len({one.patient for one in pool})) == (72, 72)


def test_the_test_cases_are_balanced_and_of_no_patient_of_the_pool() -> None:
    test = held_out_cases(REDUNDANT.phantoms)
    assert Counter(one.kind for one in test) == {
        "contrast-enhanced": 12,
        "non-contrast": 10,
        "inverted": 10,
        "noisy": 4,
    }
    assert sum(one.mask.voxels_of(5).any() for one in test) == 12
    assert not {one.patient for one in test} & {one.patient for one in pool_of(REDUNDANT.phantoms, 0)}


def test_images_are_standardised_and_every_seed_has_others() -> None:
    pool = pool_of(REDUNDANT.phantoms, 1)
    for one in pool[:5]:
        assert one.volume.voxels.shape == one.volume.geometry.shape == SHAPE
        assert abs(one.volume.voxels.mean()) < 1e-5
        assert abs(one.volume.voxels.std() - 1) < 1e-3
    assert not np.array_equal(pool[0].volume.voxels, pool_of(REDUNDANT.phantoms, 2)[0].volume.voxels)


def test_scenarios_differ_only_in_what_they_are_about() -> None:
    assert set(SCENARIOS) == {one.name for one in SCENARIOS.values()}
    assert FOUR_ANNOTATORS.phantoms == REDUNDANT.phantoms
    assert FOUR_ANNOTATORS.learner == NO_REDUNDANCY.learner == REDUNDANT.learner
    assert (FOUR_ANNOTATORS.labelling.annotators, REDUNDANT.labelling.annotators) == (4, 1)
    assert isclose(sum(one.share for one in REDUNDANT.phantoms.acquisitions), 1)
