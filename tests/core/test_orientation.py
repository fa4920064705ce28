"""Turning arrays, against numpy's own transpose and flip."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from app.core.orientation import orientation_between

EVERY = [(axes, flips) for axes in permutations(range(3)) for flips in product((False, True), repeat=3)]


@pytest.mark.parametrize(("axes", "flips"), EVERY)
def test_each_of_the_48_ways_is_found(axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    wanted = np.random.default_rng(1).integers(0, 500, (4, 5, 6))
    given = np.flip(wanted, [a for a in range(3) if flips[a]]).transpose(axes)
    orientation = orientation_between(given, wanted)
    assert orientation is not None
    assert np.array_equal(orientation.apply(given), wanted)


def test_a_cube_that_fits_as_it_is_is_left_as_it_is() -> None:
    cube = np.zeros((3, 3, 3))
    found = orientation_between(cube, cube)
    assert found is not None
    assert (found.axes, found.flips) == ((0, 1, 2), (False, False, False))


def test_one_voxel_of_difference_is_no_match() -> None:
    wanted = np.zeros((9, 8, 7))
    given = wanted.copy()
    given[3, 2, 1] = 1
    assert orientation_between(given, wanted) is None
    assert orientation_between(np.zeros((9, 8, 6)), wanted) is None
