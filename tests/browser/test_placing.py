"""Masks lie where the images lie: oblique series, and instance numbers against positions, in one view and in three."""

from __future__ import annotations

import numpy as np
import pytest

from tests.browser.page import Index, Visit
from tests.browser.site import RADIUS, SHAPE

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", ["oblique", "reversed", "both"])
def test_prompts_and_masks_of_turned_series(visit: Visit, name: str) -> None:
    visit.open(name)
    expected = np.zeros(SHAPE, np.uint8)
    at = (23, 32, 16)
    visit.go_to_slice(name, at[0])
    visit.panel("point").click()
    visit.click(name, at)
    expected[_around(at)] = 1
    red, green, _ = visit.colour(name, at)
    assert red > green + 40
    visit.picture("1-one-view")

    visit.layout("mpr", 3)
    visit.panel("point").click()
    for viewport, aside in enumerate([(-20, -30), (15, 25), (-15, 40)]):
        seen, (x, y) = visit.middle_voxel(name, viewport, aside)
        visit.page.mouse.click(x, y)
        visit.answered()
        expected[_around(seen)] = 1
    visit.picture("2-three-views")

    visit.panel("submit").click()
    visit.until("Stored as version 1")
    (sent,) = visit.submitted
    np.testing.assert_array_equal(sent, expected)
    np.testing.assert_array_equal(visit.site.stored(name)["liver"], expected)


def test_a_lasso_across_the_voxels_of_an_oblique_series(visit: Visit) -> None:
    """Drawn on a patient's axial plane, it cuts through several slices; the voxels under it are worked out in numpy."""
    name = "oblique"
    visit.open(name)
    visit.layout("mpr", 3)
    visit.panel("lasso").click()
    _, (x, y) = visit.middle_voxel(name, 0)
    corners = [(x - 40, y - 30), (x + 40, y - 30), (x + 40, y + 30), (x - 40, y + 30)]
    mouse = visit.page.mouse
    mouse.move(*corners[0])
    mouse.down()
    for corner in corners[1:]:
        mouse.move(*corner, steps=8)
    mouse.up()
    visit.answered()
    visit.picture("lasso")
    visit.panel("submit").click()
    visit.until("Stored as version")

    inside = visit.voxels_under(name, 0, corners[0], corners[2])
    sent = visit.submitted[-1] == 1
    assert len(set(np.nonzero(sent)[0])) > 3, "it goes through several slices"
    # A pixel more or less on the line is not the point.
    assert np.count_nonzero(sent ^ inside) < 0.15 * np.count_nonzero(inside)
    np.testing.assert_array_equal(visit.site.stored(name)["liver"], sent)


def _around(at: Index) -> tuple[slice, ...]:
    return tuple(slice(max(0, x - RADIUS), x + RADIUS + 1) for x in at)
