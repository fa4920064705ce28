"""Outlines give back exactly the voxels that they were drawn around, also to programs that round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from app.dicom.outlines import filled, outlines_of

planes = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.booleans())


@given(planes, st.integers(0, 2**32 - 1))
def test_the_same_voxels(plane: NDArray[np.bool_], seed: int) -> None:
    """Also if the points have moved by as much as decimals in a file may move them."""
    noise = np.random.default_rng(seed)
    outlines = [outline + noise.uniform(-1e-4, 1e-4, outline.shape) for outline in outlines_of(plane)]
    np.testing.assert_array_equal(filled(outlines, plane.shape), plane)
    together = np.zeros(plane.shape, bool)
    for outline in outlines:  # none lies inside of another's voxels
        alone = polygon2mask(plane.shape, outline)
        assert not (together & alone).any()
        together |= alone
    np.testing.assert_array_equal(together, plane)


@given(planes)
def test_programs_that_round_to_voxels(plane: NDArray[np.bool_]) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV, which rt-utils reads outlines with, is not installed")
    drawn = np.zeros(plane.shape, np.uint8)
    outlines = [np.around(outline[:, ::-1]).astype(np.int32) for outline in outlines_of(plane)]
    if outlines:
        cv2.fillPoly(drawn, outlines, 1)
    np.testing.assert_array_equal(drawn.astype(bool), plane)


def test_outlines_of_other_programs() -> None:
    """Through the centres of the outermost voxels, at their edges, and one within another as a hole."""
    square = np.array([[1.0, 1], [1, 5], [5, 5], [5, 1]])
    expected = np.zeros((7, 7), bool)
    expected[1:6, 1:6] = True
    np.testing.assert_array_equal(filled([square], (7, 7)), expected)
    wider = square + np.where(square > 3, 0.5, -0.5)
    np.testing.assert_array_equal(filled([wider[::-1]], (7, 7)), expected)
    hole = np.array([[2.5, 2.5], [2.5, 3.5], [3.5, 3.5], [3.5, 2.5]])
    expected[3, 3] = False
    np.testing.assert_array_equal(filled([wider, hole], (7, 7)), expected)
    np.testing.assert_array_equal(
        filled([np.array([[-9.0, -9], [-9, 99], [99, 99], [99, -9]])], (3, 4)), np.ones((3, 4))
    )
    assert filled([], (2, 3)).sum() == 0
