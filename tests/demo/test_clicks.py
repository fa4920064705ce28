from __future__ import annotations

import numpy as np

from app.demo.clicks import Click, middle, next_click

MM = (1.0, 1.0, 1.0)


def _box(*corners: tuple[int, int], shape=(20, 20, 20)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(low, high) for low, high in corners)] = True
    return mask


def test_the_first_click_goes_into_the_middle():
    truth = _box((4, 9), (6, 13), (2, 11))
    assert next_click(truth, np.zeros_like(truth), MM) == Click((6, 9, 6), include=True)


def test_a_missed_part_is_clicked_in_and_a_leak_out():
    truth = _box((0, 10), (0, 10), (0, 10))
    assert next_click(truth, _box((0, 10), (0, 10), (0, 3)), MM) == Click((4, 4, 6), include=True)
    leaked = truth | _box((0, 10), (10, 20), (0, 20))
    click = next_click(truth, leaked, MM)
    assert click is not None
    assert not click.include
    assert leaked[click.at]
    assert not truth[click.at]


def test_the_largest_error_counts_and_not_the_sum_of_small_ones():
    truth = _box((0, 3), (0, 3), (0, 3)) | _box((8, 11), (0, 3), (0, 3))
    mask = _box((14, 18), (14, 18), (14, 18))
    click = next_click(truth, mask, MM)
    assert click is not None
    assert not click.include


def test_no_error_no_click():
    truth = _box((1, 4), (1, 4), (1, 4))
    assert next_click(truth, truth.copy(), MM) is None


def test_the_middle_is_measured_in_millimetres_and_at_the_border_too():
    # 3 slices of 5 mm and 9 columns of 1 mm: the columns are the narrow side, so their middle counts.
    slab = _box((0, 3), (0, 20), (0, 9))
    assert middle(slab, (5.0, 1.0, 1.0))[2] == 4
    whole = np.ones((3, 3, 3), bool)
    assert middle(whole, MM) == (1, 1, 1)
