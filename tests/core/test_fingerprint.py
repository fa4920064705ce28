"""The digest of voxels is the same however they are stored, and another one for other voxels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.core.fingerprint import fingerprint

VOXELS = np.random.default_rng(3).integers(-1024, 3000, (5, 6, 7)).astype(np.int16)


@pytest.mark.parametrize(
    "stored",
    [VOXELS.astype(np.float32), VOXELS.astype(np.float64), VOXELS.T, VOXELS[::-1, :, ::-1], VOXELS.transpose(1, 0, 2)],
    ids=["float32", "float64", "other axes first", "reversed", "sagittal"],
)
def test_type_and_order_make_no_difference(stored: NDArray[np.generic]) -> None:
    assert fingerprint(stored) == fingerprint(VOXELS)


@given(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 6)))
def test_any_single_changed_voxel_does(where: tuple[int, int, int]) -> None:
    changed = VOXELS.copy()
    changed[where] += 1
    assert fingerprint(changed) != fingerprint(VOXELS)


def test_sizes_count_too() -> None:
    assert fingerprint(VOXELS.reshape(7, 6, 5)) == fingerprint(VOXELS)  # the same three sizes
    assert fingerprint(VOXELS.reshape(5, 3, 14)) != fingerprint(VOXELS)


def test_fractions_are_told_apart_and_minus_zero_is_zero() -> None:
    fractions = VOXELS / np.float32(7)
    assert fingerprint(fractions[::-1]) == fingerprint(fractions)
    assert fingerprint(fractions + np.float32(0.001)) != fingerprint(fractions)
    assert fingerprint(np.array([[[-0.0, 0.5]]])) == fingerprint(np.array([[[0.0, 0.5]]]))
