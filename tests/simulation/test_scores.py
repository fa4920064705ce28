"""The scores on examples worked out by hand, and by the challenge's formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate

from app.simulation.scores import area_under, dice, surface_dice, surface_of_image


def cube(low: tuple[int, int, int], high: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros((24, 26, 28), bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def test_dice_counts_voxels() -> None:
    one, other = cube((4, 4, 4), (14, 14, 14)), cube((4, 4, 9), (14, 14, 19))
    assert dice(one, other) == 0.5
    assert dice(one, one) == 1
    assert dice(one, np.zeros_like(one)) == 0
    assert dice(np.zeros_like(one), np.zeros_like(one)) == 1


def test_the_surface_dice_of_cubes_that_lie_apart() -> None:
    """Two cubes, one moved by 5 voxels of 1 mm: near each other lie the sides along the movement where they overlap and
    2 mm beyond, and a rim 2 mm wide of the two faces that lie inside the other cube. Edges that are cut off
    make little of a difference."""
    one, moved = cube((4, 4, 4), (16, 16, 16)), cube((4, 4, 9), (16, 16, 21))
    side = 12 * 12
    near = 4 * 12 * (12 - 5 + 2) + side - 8 * 8
    assert surface_dice(one, moved, (1, 1, 1)) == pytest.approx(near / (6 * side), abs=0.05)
    assert surface_dice(one, moved, (1, 1, 1), tolerance=5) == 1
    assert surface_dice(one, moved, (1, 1, 0.4)) == 1  # 2 mm apart


def test_the_surface_dice_knows_the_spacing_of_each_axis() -> None:
    one, moved = cube((4, 4, 4), (16, 16, 16)), cube((5, 4, 4), (17, 16, 16))
    assert surface_dice(one, moved, (1.9, 1, 1)) == 1
    assert surface_dice(one, moved, (2.5, 1, 1)) < 0.9


# By surface-distance-based-measures 0.1, which the challenge's SurfaceDice.py is: compute_surface_distances and
# compute_surface_dice_at_tolerance with 2 mm.
REFERENCES = [
    ((1.0, 1.0, 1.0), 0, 0.812064162),
    ((3.0, 1.0, 1.0), 1, 0.553392671),
    ((0.8, 2.5, 1.5), 2, 0.334657620),
    ((5.0, 0.7, 0.7), 3, 0.424043327),
]


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two balls that overlap in part, with rough surfaces; the second is cut by the image's border."""
    random = np.random.RandomState(seed)
    grid = np.indices((24, 26, 28)).reshape(3, -1).T
    masks = []
    for centre, radius in (((11, 12, 13), 8.0), ((9 - 2 * seed, 14, 15), 7.5)):
        distance = np.linalg.norm(grid - centre, axis=1) + random.uniform(-1, 1, len(grid))
        masks.append((distance <= radius).reshape(24, 26, 28))
    return masks[0], masks[1]


@pytest.mark.parametrize(("spacing", "seed", "expected"), REFERENCES)
def test_the_surface_dice_is_the_challenges(spacing: tuple[float, float, float], seed: int, expected: float) -> None:
    truth, mask = blobs(seed)
    assert surface_dice(truth, mask, spacing) == pytest.approx(expected, abs=1e-6)


def test_the_surface_dice_without_a_surface() -> None:
    nothing, one = np.zeros((4, 5, 6), bool), np.ones((4, 5, 6), bool)
    assert surface_dice(nothing, nothing, (1, 1, 1)) == 1
    assert surface_dice(one, nothing, (1, 1, 1)) == 0
    assert surface_dice(nothing, one, (1, 1, 1)) == 0
    assert surface_dice(one, one, (1, 1, 1)) == 1


def test_the_area_is_under_the_clicks_and_not_the_box() -> None:
    scores = [0.9, 0.2, 0.4, 0.6, 0.6, 0.8]  # the box, then five clicks
    assert area_under(scores) == pytest.approx(0.3 + 0.5 + 0.6 + 0.7)
    challenge = integrate.cumulative_trapezoid(np.array(scores[-5:]), np.arange(5))[-1]
    assert area_under(scores) == pytest.approx(challenge)
    assert area_under([1.0] * 6) == 4


def test_an_image_that_failed_has_no_surface() -> None:
    assert surface_of_image([0.1, 0.25], [0.9, 0.9]) == 0
    assert surface_of_image([0.1, 0.5], [0.2, 0.6]) == pytest.approx(0.4)
