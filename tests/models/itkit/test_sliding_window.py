"""Sums of overlapping windows where float16 ends; what they are elsewhere is compared in `test_onnx.py`."""

from __future__ import annotations

import numpy as np

from app.models.itkit.sliding_window import Tiling, label_by_windows


def test_sums_beyond_float16_are_infinite_and_the_first_of_equals_wins():
    """Voxels under one window have logits 50000 and 60000, under two their sums, both beyond 65504."""
    logits = np.array([5e4, 6e4], np.float32).reshape(1, 2, 1, 1, 1)
    tiling = Tiling(patch=(3, 2, 4), stride=(3, 2, 2), classes=2)
    labels = label_by_windows(
        np.zeros((3, 2, 8), np.int16), tiling, lambda windows: np.repeat(logits, 24).reshape(1, 2, *tiling.patch)
    )
    np.testing.assert_array_equal(labels, np.broadcast_to([1, 1, 0, 0, 0, 0, 1, 1], (3, 2, 8)))


def test_one_logit_beyond_float16_is_infinite():
    logits = np.array([1e5, -1e5, 7e4], np.float32)
    answer = np.repeat(logits, 8).reshape(1, 3, 2, 2, 2)
    tiling = Tiling(patch=(2, 2, 2), stride=(1, 1, 1), classes=3)
    assert not label_by_windows(np.zeros((4, 3, 2), np.int16), tiling, lambda windows: answer).any()
