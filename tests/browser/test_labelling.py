"""From the study list to a stored label and on to the next case, over a folder and over a real Orthanc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from tests import orthanc as peer
from tests.browser.page import Visit, visiting
from tests.browser.site import RADIUS, SHAPE, Site, over_orthanc

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def orthanc_site(tmp_path_factory: pytest.TempPathFactory, viewer_dir: Path) -> Iterator[Site]:
    if reason := peer.missing():
        pytest.skip(reason)
    orthanc = peer.Orthanc.start(tmp_path_factory.mktemp("orthanc"))
    with over_orthanc(tmp_path_factory.mktemp("site"), orthanc, viewer_dir) as site:
        yield site
    orthanc.stop()


def test_over_a_folder(visit: Visit) -> None:
    label_a_case(visit)


@pytest.mark.orthanc
def test_over_orthanc(chromium: Browser, orthanc_site: Site) -> None:
    with visiting(chromium, orthanc_site, "over_orthanc") as visit:
        label_a_case(visit)


def label_a_case(visit: Visit) -> None:
    page, name = visit.page, "straight"
    visit.study_list()
    page.get_by_text("Phantom, 00001").click()
    visit.picture("1-study-list")
    page.get_by_role("button", name="Segloop").click()
    visit.opened()
    assert visit.panel("progress").inner_text().startswith("0 of")
    visit.picture("2-case")

    # The two organs of the phantom: one point each, in its own slice.
    organ, other = (23, 32, 16), (13, 35, 34)
    expected = np.zeros(SHAPE, np.uint8)
    visit.go_to_slice(name, organ[0])
    grey = visit.colour(name, organ)
    assert max(grey) - min(grey) < 25
    visit.panel("point").click()
    visit.click(name, organ)
    expected[_around(organ)] = 1
    red, green, _ = visit.colour(name, organ)
    assert red > green + 40, "the mask is seen on the organ"
    visit.picture("3-point")

    visit.panel("box").click()
    visit.stroke(name, [(23, 10, 20), (23, 16, 30)])
    visit.answered()
    expected[23, 10:17, 20:31] = 1

    page.locator("[data-structure=spleen]").click()
    visit.panel("scribble").click()
    visit.stroke(name, [(23, 50, 20), (23, 50, 36)])
    visit.answered()
    expected[23, 50, 20:37] = 2
    visit.picture("4-box-and-scribble")

    visit.layout("mpr", 3)
    visit.panel("point").click()
    seen, (x, y) = visit.middle_voxel(name, 1, aside=(40, 30))
    page.mouse.click(x, y)
    visit.answered()
    expected[_around(seen)] = 2
    visit.picture("5-mpr")
    red, green, _ = visit.colour(name, seen, 1)
    assert green > red + 40, "the mask is seen in the reformatted plane"

    visit.layout("default", 1)
    visit.go_to_slice(name, other[0])
    page.keyboard.press("b")
    x, y = visit.spot(name, other)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 3, y)
    page.mouse.up()
    page.wait_for_timeout(500)
    visit.picture("6-brush")

    visit.panel("person").fill("Ada")
    visit.panel("comment").fill("first pass")
    visit.panel("submit").click()
    visit.until("Stored as version 1")
    visit.picture("7-submitted")
    assert "Ada" in visit.panel("history").inner_text()
    assert "first pass" in visit.panel("history").inner_text()

    (sent,) = visit.submitted
    brushed = sent != expected
    assert 20 < brushed.sum() < 2000
    assert set(np.nonzero(brushed)[0]) == {other[0]}, "the brush drew in its slice alone"
    assert sent[other] == 2
    assert set(sent[brushed]) == {2}
    stored = visit.site.stored(name)
    np.testing.assert_array_equal(stored["liver"], sent == 1)
    np.testing.assert_array_equal(stored["spleen"], sent == 2)
    (label,) = visit.site.labels(name)
    assert (label["author"], label["client"], label["comment"], label["model"]) == (
        "Ada",
        "OHIF",
        "first pass",
        "clicks",
    )

    before = page.evaluate("window.neverReloaded = true")
    assert before
    visit.panel("next").click()
    page.wait_for_url(lambda url: visit.site.cases[name] not in url)
    visit.opened()
    assert page.evaluate("window.neverReloaded"), "the next case opens without loading the page again"
    assert visit.panel("reason").inner_text().startswith("Picked: ")
    assert visit.panel("progress").inner_text().startswith("1 of")
    visit.picture("8-next-case")


def _around(at: tuple[int, int, int]) -> tuple[slice, ...]:
    return tuple(slice(max(0, x - RADIUS), x + RADIUS + 1) for x in at)
