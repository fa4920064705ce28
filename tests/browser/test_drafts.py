"""Nothing that was drawn is lost: strokes and prompts are steps at the server, undone and found again in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.page import Visit, visiting
from tests.browser.site import RADIUS, SHAPE, Site, over_folder
from tests.browser.test_panel import mask

pytestmark = pytest.mark.browser

AT = (23, 32, 16)


@pytest.fixture(scope="module")
def own_site(tmp_path_factory: pytest.TempPathFactory, viewer_dir: Path) -> Iterator[Site]:
    with over_folder(tmp_path_factory.mktemp("site"), viewer_dir) as site:
        yield site


@pytest.fixture
def small(chromium: Browser, own_site: Site, request: pytest.FixtureRequest) -> Iterator[Visit]:
    with visiting(chromium, own_site, request.node.name) as visit:
        visit.page.set_viewport_size({"width": 1280, "height": 720})
        yield visit


def brush(visit: Visit, name: str, at: tuple[int, int, int]) -> None:
    x, y = visit.spot(name, at)
    mouse = visit.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 4, y)
    mouse.up()
    visit.page.wait_for_timeout(400)
    saved(visit)


def saved(visit: Visit) -> None:
    expect(visit.panel("saved")).to_have_attribute("data-state", "saved")


def press(visit: Visit, keys: str, told: str) -> np.ndarray:
    visit.page.keyboard.press(keys)
    visit.page.wait_for_timeout(150)
    visit.until(told)
    return mask(visit.page)


def labelled(page: Page, visit: Visit, name: str) -> list[np.ndarray]:
    """Two structures by click and brush; the mask after each of the steps."""
    visit.go_to_slice(name, AT[0])
    visit.panel("point").click()
    masks = [mask_or_none(page)]
    visit.click(name, AT)
    masks.append(mask(page))
    page.keyboard.press("b")
    brush(visit, name, (AT[0], 50, 30))
    masks.append(mask(page))
    page.keyboard.press("k")
    brush(visit, name, (AT[0], AT[1], AT[2] + 2))  # over the other structure
    masks.append(mask(page))
    visit.panel("point").click()
    visit.click(name, (AT[0], AT[1], AT[2] + 5))  # what the other one has stays its
    masks.append(mask(page))
    saved(visit)
    return masks


def mask_or_none(page: Page) -> np.ndarray:
    there = page.evaluate("window.cornerstoneTools.segmentation.state.getSegmentations().length")
    return mask(page) if there else np.zeros(SHAPE, np.uint8)


def test_every_step_is_undone_and_made_again_also_after_a_reload(small: Visit) -> None:
    page, name = small.page, "straight"
    small.open(name)
    about = small.panel("model-about")
    expect(about).to_contain_text("Knows nothing about images")
    masks = labelled(page, small, name)
    cube = tuple(slice(x - RADIUS, x + RADIUS + 1) for x in AT)
    assert (masks[1][cube] == 1).all()
    assert set(np.unique(masks[3][cube])) == {1, 2}, "the brush took voxels from the other structure"
    small.picture("drawn")

    for n in (3, 2, 1):
        np.testing.assert_array_equal(press(small, "Control+z", "Taken back"), masks[n])
    np.testing.assert_array_equal(press(small, "Control+y", "Made again"), masks[2])
    saved(small)

    page.reload()
    small.opened()
    small.until("goes on here")
    np.testing.assert_array_equal(mask(page), masks[2])
    small.picture("resumed")
    np.testing.assert_array_equal(press(small, "u", "Taken back"), masks[1])
    for n in (2, 3, 4):
        np.testing.assert_array_equal(press(small, "Shift+U", "Made again"), masks[n])
    np.testing.assert_array_equal(press(small, "u", "Taken back"), masks[3])

    small.panel("state-spleen").wait_for()
    small.panel("submit").click()
    small.until("Stored as version 1")
    stored = small.site.stored(name)
    np.testing.assert_array_equal(stored["liver"], masks[3] == 1)
    np.testing.assert_array_equal(stored["spleen"], masks[3] == 2)
    assert small.site.get("drafts") == []


def test_what_is_said_is_a_step_and_part_of_the_draft(small: Visit) -> None:
    page, name = small.page, "oblique"
    small.open(name)
    small.panel("state-spleen").click()
    saved(small)
    page.reload()
    small.opened()
    small.until("goes on here")
    expect(small.panel("state-spleen")).to_have_text("absent")
    small.panel("undo").click()
    expect(small.panel("state-spleen")).to_have_text("not examined")
    small.panel("redo").click()
    expect(small.panel("state-spleen")).to_have_text("absent")


def test_the_panel_says_when_nothing_is_saved_and_goes_on_by_itself(small: Visit) -> None:
    page, name = small.page, "reversed"
    small.open(name)
    small.go_to_slice(name, AT[0])
    page.keyboard.press("b")
    page.wait_for_timeout(300)
    with small.held("**/api/v1/sessions/*/edit", lambda route: route.abort()):
        x, y = small.spot(name, AT)
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 4, y)
        page.mouse.up()
        expect(small.panel("saved")).to_have_attribute("data-state", "saving")
        small.picture("saving")
        asked = page.evaluate("dispatchEvent(new Event('beforeunload', { cancelable: true }))")
        assert asked is False, "the page asks before it is left"
    expect(small.panel("saved")).to_have_attribute("data-state", "failed")
    small.picture("not-saved")
    saved(small)
    assert page.evaluate("dispatchEvent(new Event('beforeunload', { cancelable: true }))")
    drawn = mask(page)
    small.watched.wrong.clear()  # the request that was cut off
    page.reload()
    small.opened()
    small.until("goes on here")
    np.testing.assert_array_equal(mask(page), drawn)
