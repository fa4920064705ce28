"""Prompts and OHIF's brush by touch: one finger draws, two zoom, three go through the images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, CDPSession

from tests.browser.page import Visit, visiting
from tests.browser.site import RADIUS, SHAPE, Site

pytestmark = pytest.mark.browser

NAME = "straight"
K = 23
AT = (K, 32, 16)

Spot = tuple[float, float]

_SEEN = """() => { const { viewport } = window.cornerstone.getEnabledElements()[0];
    return { height: viewport.getCamera().parallelScale, image: viewport.getCurrentImageIdIndex() } }"""


@pytest.fixture
def tablet(chromium: Browser, site: Site, request: pytest.FixtureRequest) -> Iterator[Visit]:
    with visiting(chromium, site, request.node.name, has_touch=True) as visit:
        visit.open(NAME)
        visit.go_to_slice(NAME, K)
        yield visit


class Hand:
    """Fingers on the screen; Playwright itself can only tap."""

    def __init__(self, visit: Visit) -> None:
        self.page = visit.page
        self.browser: CDPSession = visit.page.context.new_cdp_session(visit.page)

    def send(self, what: str, *fingers: Spot) -> None:
        points = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(fingers)]
        self.browser.send("Input.dispatchTouchEvent", {"type": what, "touchPoints": points})
        self.page.wait_for_timeout(20)

    def drag(self, *paths: tuple[Spot, Spot]) -> None:
        """Fingers come down one after the other, and go in straight lines."""
        for count in range(1, len(paths) + 1):
            self.send("touchStart", *(begin for begin, _ in paths[:count]))
        self.page.wait_for_timeout(200)
        for part in np.linspace(0, 1, 11)[1:]:
            self.send("touchMove", *((a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])) for a, b in paths))
        self.send("touchEnd")


def test_a_tap_a_box_a_scribble_and_the_brush(tablet: Visit) -> None:
    visit, hand = tablet, Hand(tablet)
    visit.panel("point").tap()
    visit.page.touchscreen.tap(*visit.spot(NAME, AT))
    visit.answered()
    expected = np.zeros(SHAPE, np.uint8)
    expected[tuple(slice(x - RADIUS, x + RADIUS + 1) for x in AT)] = 1

    visit.panel("box").tap()
    hand.drag((visit.spot(NAME, (K, 10, 20)), visit.spot(NAME, (K, 16, 30))))
    visit.answered()
    expected[K, 10:17, 20:31] = 1
    visit.panel("exclude").tap()
    visit.panel("scribble").tap()
    hand.drag((visit.spot(NAME, (K, 13, 22)), visit.spot(NAME, (K, 13, 28))))
    visit.answered()
    expected[K, 13, 22:29] = 0
    visit.picture("1-prompts")

    visit.panel("brush").tap()
    hand.drag((visit.spot(NAME, (K, 50, 20)), visit.spot(NAME, (K, 50, 30))))
    visit.page.wait_for_timeout(700)
    visit.picture("2-brush")
    visit.panel("submit").tap()
    visit.until("Stored as version 1")
    (sent,) = visit.submitted
    brushed = sent != expected
    assert set(np.nonzero(brushed)[0]) == {K}
    assert set(sent[brushed]) == {1}
    assert sent[K, 50, 20:31].all()
    np.testing.assert_array_equal(visit.site.stored(NAME)["liver"], sent)


def test_two_and_three_fingers_are_the_viewers(tablet: Visit) -> None:
    visit, hand = tablet, Hand(tablet)
    page = visit.page
    visit.panel("point").tap()
    before = page.evaluate(_SEEN)
    x, y = visit.spot(NAME, AT)
    hand.drag(((x - 20, y), (x - 100, y)), ((x + 20, y), (x + 100, y)))
    page.wait_for_timeout(300)
    closer = page.evaluate(_SEEN)
    assert closer["height"] < 0.8 * before["height"]
    hand.drag(*(((x + side, y), (x + side, y + 90)) for side in (-30, 0, 30)))
    page.wait_for_timeout(300)
    assert page.evaluate(_SEEN)["image"] != closer["image"]
    assert not visit.panel("undo").is_enabled(), "none of it was a prompt"
