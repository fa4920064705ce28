from __future__ import annotations

from collections import Counter

import numpy as np

from trainers._clicks import correction, random_inside


def area(*slices: slice) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    made = np.zeros((5, 11, 11), bool)
    made[slices] = True
    return made


def test_clicks_lie_inside_and_mostly_deep() -> None:
    rng = np.random.default_rng(0)
    ball = area(slice(0, 5), slice(2, 9), slice(2, 9))
    clicks = Counter(random_inside(ball, rng) for _ in range(300))
    assert all(at is not None and ball[at] for at in clicks)
    depths = [min(at[1] - 1, 9 - at[1], at[2] - 1, 9 - at[2]) for at in clicks.elements() if at is not None]
    assert np.mean(depths) > 1.8  # 1.9 by the rule; 1.6 if every voxel were as likely
    assert random_inside(area(slice(0, 0)), rng) is None


def test_the_larger_error_is_corrected() -> None:
    rng = np.random.default_rng(0)
    wanted = area(slice(0, 2))
    at = correction(area(slice(4, 5)), wanted, rng)
    assert at is not None
    assert at[1] is True
    assert wanted[at[0]]
    excess = area(slice(0, 5))
    at = correction(excess, wanted, rng)
    assert at is not None
    assert at[1] is False
    assert not wanted[at[0]]
    assert correction(wanted, wanted, rng) is None
