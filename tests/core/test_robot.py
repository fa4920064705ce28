"""Where the simulated user prompts, on masks drawn by hand."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from app.core.prompt import Lasso, Point, Scribble
from app.core.robot import AXES, Plane, Robot
from tests.models.volumes import ball_mask

SHAPE = (30, 32, 34)
NOTHING = np.zeros(SHAPE, bool)


def block(low: tuple[int, int, int], high: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def test_the_first_click_is_in_the_middle() -> None:
    assert Robot().next_prompt(ball_mask(SHAPE, (12, 14, 16), 7), NOTHING) == Point((12, 14, 16))


def test_the_middle_is_deepest_even_at_the_edge() -> None:
    area = np.zeros((5, 9, 9), bool)
    area[:, 2:7, 0:5] = True
    assert Robot().next_prompt(area, np.zeros_like(area)) == Point((2, 4, 2))


def test_clicks_correct_the_largest_error() -> None:
    truth = block((5, 5, 5), (20, 20, 20))
    missing = truth & ~block((5, 5, 5), (20, 20, 10))
    assert Robot().next_prompt(truth, truth & ~missing | block((24, 24, 24), (29, 29, 29))).include  # type: ignore[union-attr]
    too_much = truth | block((22, 5, 5), (29, 25, 25))
    prompt = Robot().next_prompt(truth, too_much)
    assert isinstance(prompt, Point)
    assert not prompt.include
    assert prompt.at[0] == 25
    assert Robot().next_prompt(truth, truth) is None


def test_what_is_missing_and_too_much_is_one_error_where_it_touches() -> None:
    """As in the challenge: errors of both kinds that share a corner are one piece, whose deepest voxel decides."""
    truth = block((4, 4, 4), (10, 10, 10)) | block((20, 20, 20), (28, 28, 28))
    mask = block((10, 10, 10), (15, 15, 15))  # 216 missing and 125 too much touch at a corner; 512 are alone
    assert Robot().next_prompt(truth, mask) == Robot().next_prompt(block((20, 20, 20), (28, 28, 28)), NOTHING)
    truth = block((4, 4, 4), (10, 10, 10)) | block((20, 20, 20), (26, 26, 26))  # 216 alone, 341 together
    prompt = Robot().next_prompt(truth, mask)
    assert isinstance(prompt, Point)
    assert max(prompt.at) < 16


def test_of_equally_deep_voxels_the_seed_chooses() -> None:
    truth = block((3, 3, 3), (4, 4, 30))
    first = Robot(seed=1).next_prompt(truth, NOTHING)
    assert first == Robot(seed=1).next_prompt(truth, NOTHING)
    deepest = np.argwhere(truth)
    expected = deepest[np.random.RandomState(42).choice(len(deepest))]
    assert Robot().next_prompt(truth, NOTHING) == Point(tuple(int(x) for x in expected))  # type: ignore[arg-type]
    assert len({Robot(seed=s).next_prompt(truth, NOTHING) for s in range(8)}) > 1


def test_noise_moves_a_click_by_a_few_voxels_and_never_out_of_the_image() -> None:
    truth = block((0, 0, 0), (3, 3, 3))
    places = {Robot(noise=3, seed=s).next_prompt(truth, NOTHING).at for s in range(40)}  # type: ignore[union-attr]
    assert len(places) > 10
    assert all(0 <= x <= 4 for at in places for x in at)


@pytest.mark.parametrize("plane", get_args(Plane))
def test_strokes_and_contours_lie_on_a_slice_of_any_plane(plane: Plane) -> None:
    truth = block((6, 8, 10), (18, 22, 28))
    axis = AXES[plane]
    stroke = Robot("scribbles", plane).next_prompt(truth, NOTHING)
    assert isinstance(stroke, Scribble)
    assert stroke.region.shape[axis] == 1
    drawn = np.zeros(SHAPE, bool)
    drawn[stroke.region.slices] = stroke.voxels
    assert (drawn <= truth).all()
    assert stroke.voxels.sum() >= 8

    lasso = Robot("lassos", plane).next_prompt(truth, NOTHING)
    assert isinstance(lasso, Lasso)
    drawn = np.zeros(SHAPE, bool)
    drawn[lasso.region.slices] = lasso.voxels
    at = lasso.region.low[axis]
    np.testing.assert_array_equal(np.take(drawn, at, axis), np.take(truth, at, axis))
    assert drawn.sum() == np.take(truth, at, axis).sum()


def test_a_stroke_out_of_what_is_too_much_stays_there() -> None:
    truth = block((6, 8, 10), (18, 22, 28))
    wrong = truth | block((6, 22, 10), (18, 30, 28))
    stroke = Robot("scribbles").next_prompt(truth, wrong)
    assert isinstance(stroke, Scribble)
    assert not stroke.include
    assert stroke.region.low[1] >= 22


def test_the_box_is_around_the_structure_on_its_middle_slice() -> None:
    truth = block((6, 8, 10), (18, 22, 28)) | block((6, 8, 4), (7, 22, 10))
    region = Robot().box(truth).region
    assert region.low == (11, 8, 10)
    assert region.high == (12, 22, 28)
    wide = Robot(noise=3).box(truth).region
    assert all(a <= b for a, b in zip(wide.low, region.low, strict=True))
    assert all(b <= a <= b + 3 for a, b in zip(wide.high, region.high, strict=True))
