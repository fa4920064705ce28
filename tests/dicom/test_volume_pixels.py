"""Voxels of volume files as 16-bit pixels: exact where 16 bits can hold them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.dicom.volume_pixels import pixel_scale

SMALL = (np.int8, np.uint8, np.int16, np.uint16)


def shown(voxels: np.ndarray, **options) -> np.ndarray:
    scale = pixel_scale(voxels, "MR", **options)
    pixels = scale.stored(voxels)
    assert pixels.dtype in (np.dtype("<i2"), np.dtype("<u2"))
    assert pixels.flags.c_contiguous
    return (pixels.astype(np.float64) * scale.slope + scale.intercept) / scale.factor


@pytest.mark.parametrize("dtype", SMALL)
def test_small_types_are_exact(dtype) -> None:
    limits = np.iinfo(dtype)
    voxels = np.array([limits.min, 0, 1, limits.max] * 3, dtype).reshape(3, 2, 2)
    np.testing.assert_array_equal(shown(voxels), voxels)
    assert pixel_scale(voxels, "MR").exact


@given(hnp.arrays(np.int64, (2, 3, 4), elements=st.integers(-(2**40), 2**40)))
def test_whole_numbers_of_any_type_within_65536_are_exact(voxels) -> None:
    near = voxels % 60000 + 1_000_000_000
    np.testing.assert_array_equal(shown(near), near)
    whole = (voxels % 60000 - 30000).astype(np.float32)
    np.testing.assert_array_equal(shown(whole), whole)


@given(hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(-1e6, 1e6, width=32)))
def test_other_values_are_within_half_a_level(voxels) -> None:
    reach = float(voxels.max()) - float(voxels.min())
    error = np.abs(shown(voxels) - voxels.astype(np.float64))
    assert error.max() <= 0.51 * reach / 65535 + 1e-9 * np.abs(voxels).max()


@pytest.mark.parametrize("factor", [1, 0.01])
def test_stored_values_of_a_file_with_a_slope_are_exact(factor) -> None:
    stored = np.arange(-300, 300, dtype=np.int16).reshape(6, 10, 10)
    slope, intercept = factor * 0.1373, -12.7
    voxels = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    scale = pixel_scale(voxels, "MR", (slope, intercept))
    np.testing.assert_array_equal(scale.stored(voxels), stored)
    assert (scale.exact, scale.slope) == (True, slope * scale.factor)


def test_what_is_no_number_has_a_place() -> None:
    voxels = np.array([np.nan, -np.inf, np.inf, 0.25, 1.5, 3.5], np.float32).reshape(1, 2, 3)
    values = shown(voxels).ravel()
    np.testing.assert_allclose(values, [0.25, 0.25, 3.5, 0.25, 1.5, 3.5], atol=1e-4)
    assert np.isfinite(shown(np.full((1, 2, 2), np.nan, np.float32))).all()
    np.testing.assert_array_equal(shown(np.zeros((1, 2, 2), np.float32)), 0)


def test_windows_show_what_is_there() -> None:
    rng = np.random.default_rng(0)
    hu = np.where(rng.random((8, 40, 40)) < 0.5, -1000, rng.normal(60, 200, (8, 40, 40))).astype(np.int16)
    hu[0, 0, 0] = 900
    scale = pixel_scale(hu, "CT")
    assert (scale.center, scale.width) == (40, 400)
    unit = np.where(hu > -1000, 0.7, 0).astype(np.float32) + rng.random(hu.shape, np.float32) / 10
    scale = pixel_scale(unit, "MR")
    assert scale.factor == 10_000
    assert 1000 < scale.width <= 9000
    assert scale.center - scale.width / 2 < 7500 < scale.center + scale.width / 2
