"""Strokes and outlines as voxels, against distances worked out voxel by voxel and skimage's point in polygon."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.measure import points_in_poly

from app.core.drawing import Place, polygon_lasso, polyline_scribble
from app.core.prompt import Lasso, Scribble
from app.core.volume import Index

shapes = st.tuples(st.integers(1, 9), st.integers(1, 14), st.integers(1, 11))
numbers = st.floats(-8, 20, allow_nan=False)
places = st.tuples(numbers, numbers, numbers)


def spread(drawn: Scribble | Lasso | None, shape: Index) -> NDArray[np.bool_]:
    """A drawing in the whole volume."""
    whole = np.zeros(shape, bool)
    if drawn is not None:
        assert drawn.region.within(shape)
        whole[drawn.region.slices] = drawn.voxels
    return whole


def distance(voxel: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """From a point to a segment, by trying out the foot of the perpendicular and both ends."""
    candidates = [a, b]
    if (a != b).any():
        foot = a + (b - a) * np.dot(voxel - a, b - a) / np.dot(b - a, b - a)
        if np.dot(foot - a, foot - b) <= 0:
            candidates.append(foot)
    return min(float(np.linalg.norm(voxel - one)) for one in candidates)


@given(shape=shapes, points=st.lists(places, min_size=1, max_size=4), radius=st.floats(0, 5))
def test_a_stroke_is_every_voxel_near_its_line(shape: Index, points: list[Place], radius: float) -> None:
    found = spread(polyline_scribble(points, radius, shape), shape)
    ends = np.array(points)
    holding = {tuple(np.round(point).astype(int)) for point in ends}
    for index in np.ndindex(shape):
        voxel = np.array(index, float)
        segments = pairwise(ends) if len(ends) > 1 else [(ends[0], ends[0])]
        nearest = min(distance(voxel, a, b) for a, b in segments)
        if abs(nearest - radius) > 1e-6:  # at the very edge rounding may go either way
            assert found[index] == (nearest <= radius or index in holding)


def test_known_strokes() -> None:
    line = spread(polyline_scribble([(2, 1, 1), (2, 1, 6)], 0, (5, 4, 9)), (5, 4, 9))
    assert [tuple(index) for index in np.argwhere(line)] == [(2, 1, i) for i in range(1, 7)]
    ball = spread(polyline_scribble([(4, 4, 4)], 1, (9, 9, 9)), (9, 9, 9))
    assert ball.sum() == 7  # the centre and its six neighbours
    assert ball[4, 4, 3:6].all()
    between = spread(polyline_scribble([(0.4, 1.4, 2.4)], 0, (3, 3, 3)), (3, 3, 3))
    assert [tuple(index) for index in np.argwhere(between)] == [(0, 1, 2)]


def test_a_stroke_from_far_away_is_cut_off_at_the_border() -> None:
    shape = (4, 6, 8)
    found = spread(polyline_scribble([(1, 2, -1e12), (1, 2, 1e12)], 0.5, shape), shape)
    assert found[1, 2].all()
    assert found.sum() == 8


@pytest.mark.parametrize("points", [[(-9, 2, 2)], [(2, 2, 40), (2, 9, 40)], [(1e300, 0, 0)]])
def test_a_stroke_outside_is_none(points: list[Place]) -> None:
    assert polyline_scribble(points, 2, (5, 6, 7)) is None


@pytest.mark.parametrize(
    ("points", "radius"), [([], 1), ([(float("nan"), 0, 0)], 1), ([(0, 0, 0)], -1), ([(0, 0, 0)], float("inf"))]
)
def test_what_is_no_stroke(points: list[Place], radius: float) -> None:
    with pytest.raises(ValueError, match="a stroke has points"):
        polyline_scribble(points, radius, (5, 6, 7))


def test_a_stroke_that_would_take_for_ever_is_refused() -> None:
    zigzag = [(0.0, 0.0, 0.0), (499.0, 499.0, 499.0)] * 200
    with pytest.raises(ValueError, match="too long or too thick"):
        polyline_scribble(zigzag, 40, (500, 500, 500))


@given(
    shape=shapes,
    axis=st.integers(0, 2),
    corners=st.lists(st.tuples(numbers, numbers), min_size=3, max_size=8),
    depth=st.integers(-1, 9),
)
def test_an_outline_is_filled_even_odd(shape: Index, axis: int, corners: list[tuple[float, float]], depth: int) -> None:
    # Off the grid, because whether a centre on the outline is inside is a convention.
    flat = np.array(corners) + 0.123456
    points = [tuple(np.insert(corner, axis, depth).tolist()) for corner in flat]
    found = spread(polygon_lasso(points, axis, shape), shape)
    sizes = [n for a, n in enumerate(shape) if a != axis]
    centres = np.array(list(np.ndindex(*sizes)), float)
    expected = np.zeros(shape, bool)
    if 0 <= depth < shape[axis]:
        inside = points_in_poly(centres, flat).reshape(sizes)
        expected[tuple(depth if a == axis else slice(None) for a in range(3))] = inside
    wrong = np.argwhere(found != expected)
    # Two ways to work out where a nearly flat edge crosses a row may differ by rounding.
    for index in wrong:
        centre = np.delete(index, axis).astype(float)
        gaps = [distance(centre, a, b) for a, b in zip(flat, np.roll(flat, -1, axis=0), strict=True)]
        assert min(gaps) < 1e-6


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_rectangle_takes_its_lower_edges_and_leaves_its_upper(axis: int) -> None:
    shape = (6, 7, 8)
    corners = [(1, 2), (1, 5), (4, 5), (4, 2)]
    lasso = polygon_lasso([tuple(np.insert(c, axis, 3).astype(float)) for c in corners], axis, shape, include=False)
    assert lasso is not None
    assert not lasso.include
    low, high = [1, 2], [4, 5]
    low.insert(axis, 3)
    high.insert(axis, 4)
    assert (lasso.region.low, lasso.region.high) == (tuple(low), tuple(high))
    assert lasso.voxels.all()


def test_what_is_enclosed_twice_is_outside() -> None:
    """A pentagram: its middle is enclosed twice."""
    star = [(0.0, 20 + 15.3 * np.cos(a), 20 + 15.3 * np.sin(a)) for a in np.arange(5) * 4 * np.pi / 5]
    found = spread(polygon_lasso(star, 0, (1, 40, 40)), (1, 40, 40))
    assert not found[0, 20, 20]
    assert found[0, 32, 20]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_between_two_slices_is_one_plane(axis: int) -> None:
    """A viewer's sagittal plane through the middle of 40 columns lies between two of them; rounding does what it likes
    to the last digits of its points."""
    corners = [(1, 2), (1, 5), (4, 5), (4, 2)]
    depths = [19.5 + 1e-12, 19.5 - 1e-12, 19.5, 19.5 - 1e-12]
    points = [tuple(np.insert(np.array(c, float), axis, d)) for c, d in zip(corners, depths, strict=True)]
    lasso = polygon_lasso(points, axis, (40, 40, 40))
    assert lasso is not None
    assert lasso.region.low[axis] == 20
    assert lasso.region.shape[axis] == 1
    assert lasso.voxels.sum() == 9


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ([(1, 1, 1), (1, 2, 2)], "three points"),
        ([(1, 1, 1), (1, 2, 2), (1, float("inf"), 3)], "numbers"),
        ([(1, 1, 1), (1, 2, 5), (2, 5, 3)], "one slice"),
    ],
)
def test_what_is_no_outline(points: list[Place], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        polygon_lasso(points, 0, (5, 6, 7))


def test_an_outline_without_a_voxel_is_none() -> None:
    assert polygon_lasso([(0, 1.1, 1.1), (0, 1.2, 1.8), (0, 1.3, 1.2)], 0, (3, 4, 5)) is None
    assert polygon_lasso([(0, -9, -9), (0, -9, -5), (0, -5, -5)], 0, (3, 4, 5)) is None
