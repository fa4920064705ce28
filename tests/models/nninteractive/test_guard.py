"""The starter model's guard, on hand-made masks."""

from typing import Any

import numpy as np
import pytest

from app.models.nninteractive.guard import BoolArray, Click, Verdict, apply_guard, connected_to, review


def block(low: int, high: int, size: int = 40) -> BoolArray:
    """A cube from ``low`` to ``high`` on all axes in a volume of ``size``."""
    mask = np.zeros((size, size, size), bool)
    mask[low:high, low:high, low:high] = True
    return mask


def judge(before: BoolArray, after: BoolArray, *clicks: Click) -> tuple[Verdict, BoolArray]:
    return review(before, after, clicks, int(before.sum()))


INSIDE = Click((15, 15, 15), True)


def test_first_click_is_always_accepted() -> None:
    after = block(0, 40)
    verdict, mask = judge(np.zeros_like(after), after, INSIDE)
    assert verdict is Verdict.ACCEPTED
    assert mask is after


def test_growth_at_the_click_is_accepted() -> None:
    before = block(10, 20)
    after = before.copy()
    after[20:24, 10:20, 10:20] = True
    verdict, mask = judge(before, after, INSIDE, Click((22, 15, 15), True))
    assert verdict is Verdict.ACCEPTED
    assert (mask == after).all()


def test_few_stray_voxels_pass() -> None:
    before = block(10, 20)
    after = before.copy()
    after[20:24, 10:20, 10:20] = True
    after[35, 35, 30:38] = True
    after[10, 10, 10:14] = False
    verdict, mask = judge(before, after, INSIDE, Click((22, 15, 15), True))
    assert verdict is Verdict.ACCEPTED
    assert (mask == after).all()


def test_far_flood_is_cut_off() -> None:
    before = block(10, 20)
    wanted = before.copy()
    wanted[20:24, 10:20, 10:20] = True
    after = wanted.copy()
    after[30:38, 30:38, 30:38] = True
    verdict, mask = judge(before, after, INSIDE, Click((22, 15, 15), True))
    assert verdict is Verdict.RESTRICTED
    assert (mask == wanted).all()


def test_including_click_does_not_eat_the_mask() -> None:
    before = block(10, 20)
    after = before.copy()
    after[:, :, 17:] = False
    after[20:24, 10:20, 10:20] = True
    verdict, mask = judge(before, after, INSIDE, Click((22, 15, 15), True))
    assert verdict is Verdict.RESTRICTED
    assert mask[before].all()
    assert mask[22, 15, 15]


def test_excluding_click_does_not_add() -> None:
    before = block(10, 24)
    after = before.copy()
    after[20:24] = False
    after[5:10, 10:24, 10:24] = True
    verdict, mask = judge(before, after, INSIDE, Click((22, 15, 15), False))
    assert verdict is Verdict.RESTRICTED
    assert not mask[~before].any()
    assert not mask[22, 15, 15]


def around(index: tuple[int, int, int], size: int = 40) -> BoolArray:
    """A voxel and its six neighbours."""
    mask = np.zeros((size, size, size), bool)
    for axis in range(3):
        for step in (-1, 0, 1):
            mask[tuple(x + step * (a == axis) for a, x in enumerate(index))] = True
    return mask


def test_change_that_loses_an_earlier_point_only_touches() -> None:
    before = block(10, 20)
    after = before.copy()
    after[12:20] = False
    verdict, mask = judge(before, after, INSIDE, Click((18, 15, 15), False))
    assert verdict is Verdict.TOUCHED
    assert (mask == (before & ~around((18, 15, 15)))).all()


def test_no_click_is_without_effect() -> None:
    before = block(10, 20)
    after = before.copy()
    after[12:15, 12:15, 12:15] = False
    verdict, mask = judge(before, after, INSIDE, Click((30, 30, 30), True))
    assert verdict is Verdict.RESTRICTED
    assert (mask == (after | around((30, 30, 30)))).all()


def test_connected_flood_is_taken_back_by_its_size() -> None:
    before = block(15, 20)
    verdict, mask = judge(before, block(0, 40), Click((17, 17, 17), True), Click((21, 17, 17), True))
    assert verdict is Verdict.TOUCHED
    assert (mask == (before | around((21, 17, 17)))).all()


def test_click_outside_the_window_is_not_asked() -> None:
    before = block(10, 20)
    after = before.copy()
    after[20:24, 10:20, 10:20] = True
    verdict, _ = judge(before, after, Click((60, 15, -3), False), Click((22, 15, 15), True))
    assert verdict is Verdict.ACCEPTED


def test_connected_to_follows_a_winding_path() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[0, 0, :] = mask[0, :, 8] = mask[:, 8, 8] = mask[8, 8, :] = mask[8, :, 0] = True
    mask[4, 4, 4] = True
    seeds = np.zeros_like(mask)
    seeds[0, 0, 0] = True
    reached = connected_to(mask, seeds)
    assert reached[8, 0, 0]
    assert not reached[4, 4, 4]


class FakeSession:
    """Just enough of an nnInteractive session: a target buffer and a previous mask."""

    def __init__(self, after: BoolArray) -> None:
        self.target_buffer = after.astype(np.uint8)
        self.previous = after.copy()
        self.recorded: bool | None = None

    def _get_prev_seg_channel(self) -> int:
        return 0

    def _paste_interactions(self, channel: int, source: Any, box: list[list[int]], record_undo: bool) -> None:
        assert channel == 0
        self.recorded = record_undo
        self.previous[tuple(slice(a, b) for a, b in box)] = source.numpy() > 0

    def _paste_prediction_to_target_buffer(self, source: Any, box: list[list[int]], record_undo: bool) -> None:
        assert record_undo is self.recorded
        self.target_buffer[tuple(slice(a, b) for a, b in box)] = source.numpy()


@pytest.mark.parametrize("flood", [False, True])
def test_settle_sets_the_session_right(flood: bool) -> None:
    pytest.importorskip("torch")
    before = block(15, 20)
    wanted = before.copy()
    wanted[20:23, 15:20, 15:20] = True
    after = wanted.copy()
    after[32:36, 30:36, 30:36] = True
    session = FakeSession(block(0, 40) if flood else after)
    clicks = [Click((17, 17, 17), True), Click((21, 17, 17), True)]
    verdict = apply_guard(session, before.astype(np.uint8), [[4, 40], [2, 40], [3, 40]], clicks)
    expected = before | around((21, 17, 17)) if flood else wanted
    inside = (slice(4, 40), slice(2, 40), slice(3, 40))
    assert verdict is (Verdict.TOUCHED if flood else Verdict.RESTRICTED)
    assert ((session.target_buffer > 0)[inside] == expected[inside]).all()
    assert (session.previous[inside] == expected[inside]).all()
    assert session.recorded is False  # the session has recorded that box itself


def test_the_guard_keeps_a_click_that_lies_outside_of_what_changed() -> None:
    pytest.importorskip("torch")
    before = block(15, 20)
    after = before.copy()
    after[15:20, 15:20, 20] = True
    session = FakeSession(after)
    clicks = [Click((17, 17, 17), True), Click((30, 31, 32), True)]
    apply_guard(session, before.astype(np.uint8), [[14, 22], [14, 22], [14, 22]], clicks)
    expected = before | around((30, 31, 32))  # what is added elsewhere is a stray change
    np.testing.assert_array_equal(session.target_buffer > 0, expected)
    np.testing.assert_array_equal(session.previous, expected)
    assert session.recorded is True  # it lies outside of what the session itself takes back


def test_the_first_click_ends_on_its_side() -> None:
    verdict, mask = judge(np.zeros((40, 40, 40), bool), block(20, 25), Click((10, 10, 10), True))
    assert verdict is Verdict.RESTRICTED
    np.testing.assert_array_equal(mask, block(20, 25) | around((10, 10, 10)))

    verdict, mask = judge(np.zeros((40, 40, 40), bool), block(0, 40), Click((10, 10, 10), False))
    assert verdict is Verdict.RESTRICTED
    np.testing.assert_array_equal(mask, block(0, 40) & ~around((10, 10, 10)))
