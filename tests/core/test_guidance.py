from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.apps.deepedit.transforms import AddGuidanceSignalDeepEditd
from monai.apps.deepgrow.transforms import AddGuidanceSignald

from app.core.guidance import DEEPEDIT_SIGMA, DEEPGROW_SIGMA, point_guidance
from app.core.volume import Index

SHAPE = (20, 23, 26)
POINTS: list[Index] = [(5, 6, 7), (6, 6, 9), (0, 22, 25), (5, 6, 7)]


def test_deepgrow_signals_are_monais() -> None:
    guidance = [[[0, *at] for at in POINTS], [[0, 10, 11, 12]]]
    data = {"image": np.zeros((1, *SHAPE), np.float32), "guidance": np.array(guidance, dtype=object).tolist()}
    signals = AddGuidanceSignald(image="image", guidance="guidance")(data)["image"][1:]

    np.testing.assert_allclose(point_guidance(SHAPE, POINTS, DEEPGROW_SIGMA), np.asarray(signals[0]), atol=1e-6)
    np.testing.assert_allclose(point_guidance(SHAPE, [(10, 11, 12)], DEEPGROW_SIGMA), np.asarray(signals[1]), atol=1e-6)


def test_deepedit_signals_are_monais() -> None:
    data = {"image": torch.zeros(1, *SHAPE), "guidance": {"liver": [list(at) for at in POINTS], "background": []}}
    signals = AddGuidanceSignalDeepEditd(keys="image", guidance="guidance")(data)["image"]

    np.testing.assert_allclose(point_guidance(SHAPE, POINTS, DEEPEDIT_SIGMA), np.asarray(signals[1]), atol=1e-6)
    assert not np.asarray(signals[2]).any()


def test_a_flat_signal_is_the_2d_one() -> None:
    at = (0, 9, 9)
    flat = point_guidance((1, 30, 30), [at], 2.0)
    x = np.arange(30)
    # Far from the border the profile is a Gaussian (integrated per voxel, hence the tolerance).
    np.testing.assert_allclose(flat[0, 9], np.exp(-((x - 9) ** 2) / 8), atol=0.02)


def test_no_points_and_points_outside_draw_nothing() -> None:
    assert not point_guidance(SHAPE, [], 2.0).any()
    assert not point_guidance(SHAPE, [(20, 0, 0), (-1, 3, 3)], 2.0).any()


@settings(deadline=None)
@given(
    st.tuples(*[st.integers(1, 20)] * 3),
    st.lists(st.tuples(*[st.integers(0, 19)] * 3), min_size=1, max_size=4),
    st.sampled_from([1.0, 2.0, 3.0]),
)
def test_signals_lie_between_0_and_1(shape: Index, points: list[Index], sigma: float) -> None:
    signal = point_guidance(shape, points, sigma)

    assert signal.shape == shape
    assert signal.dtype == np.float32
    assert 0 <= signal.min() <= signal.max() <= 1
