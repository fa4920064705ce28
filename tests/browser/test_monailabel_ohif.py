"""MONAI Label's own OHIF client, as its wheel brings it (3.10, prebuilt), against this server.

Its files are put under `/ohif/` of this server's origin for one browser, where MONAI Label serves them; every request
for data goes to the server. It asks for two fonts of another site, which don't come here.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.site import Site
from tests.browser.watching import RESULTS

pytestmark = pytest.mark.browser

NAME = "straight"
RADIUS = 2


def client_folder() -> Path:
    found = importlib.util.find_spec("monailabel")
    if found is None or found.origin is None:
        pytest.skip("the package monailabel (0.8.5, without its dependencies) isn't installed")
    return Path(found.origin).parent / "endpoints" / "static" / "ohif"


@pytest.fixture
def page(chromium: Browser, site: Site) -> Iterator[Page]:
    folder = client_folder()

    def file_of_the_client(route: Route) -> None:
        name = urlsplit(route.request.url).path.removeprefix("/ohif/")
        file = folder / name
        route.fulfill(path=file if name and file.is_file() else folder / "index.html")

    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    context.add_cookies([{"name": "MONAILABEL_SERVER_URL", "value": f"{site.url}/", "url": site.url}])
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("dialog", lambda dialog: dialog.accept())  # it asks before it loads the page of the next study
    page.route("**/ohif/**", file_of_the_client)
    page.route(re.compile(r"^https?://fonts\."), lambda route: route.fulfill(body="", content_type="text/css"))
    yield page
    RESULTS.mkdir(exist_ok=True)
    page.screenshot(path=RESULTS / "monailabel-ohif-end.png")
    context.close()


def segments(page: Page) -> np.ndarray:
    """The client's label map (k, j, i), each slice where its position says."""
    read = """() => { const volume = window.services.segmentationService.getLabelmapVolume('1');
        const { dimensions } = volume;
        const voxels = [...volume.voxelManager.getCompleteScalarDataArray()];
        return [[...dimensions], [...volume.direction].slice(6), voxels] }"""
    dimensions, normal, voxels = page.evaluate(read)
    found = np.array(voxels, np.uint8).reshape(dimensions[::-1])
    return found if normal[2] > 0 else found[::-1]


def test_connects_segments_clicks_and_asks_for_the_next(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/ohif/monai-label?StudyInstanceUIDs={site.studies[NAME]}")
    page.get_by_text("Confirm and Hide").click()
    page.wait_for_function("() => window.cornerstone?.getEnabledElements().length === 3")
    panel = page.locator(".monaiLabelPanel")
    with page.expect_response(re.compile("/info/")) as info:
        panel.get_by_role("button").first.click()
    assert info.value.ok
    expect(panel).to_contain_text("Auto-Segmentation")
    page.screenshot(path=RESULTS / "monailabel-ohif-1-connected.png")

    with page.expect_response(re.compile("/infer/bands"), timeout=30_000) as answer:
        panel.get_by_title("Run Segmentation", exact=True).click()
    assert answer.value.ok
    values = site.truth[NAME].voxels.astype(float)
    bands = np.minimum(np.floor((values - values.min()) / np.ptp(values) * 3), 2)
    page.wait_for_timeout(1500)
    np.testing.assert_array_equal(segments(page), bands)
    page.screenshot(path=RESULTS / "monailabel-ohif-2-segmented.png")

    panel.get_by_text("Point Prompts").click()
    panel.locator(".clickable-row", has_text="liver").first.click()
    # The three views show the middle; the first looks along k.
    at = (20, 4, 6)
    i, j, k = at[2], at[1], at[0]
    world = (site.truth[NAME].geometry.affine @ [i, j, k, 1.0])[:3].tolist()
    to_screen = """world => { const { viewport } = window.cornerstone.getEnabledElements()[0];
        const [x, y] = viewport.worldToCanvas(world), box = viewport.element.getBoundingClientRect();
        return [x + box.left, y + box.top] }"""
    page.mouse.click(*page.evaluate(to_screen, world), delay=50)
    page.wait_for_timeout(800)
    with page.expect_response(re.compile("/infer/clicks"), timeout=30_000) as answer:
        panel.get_by_title("Run PointPrompts").click()
    assert answer.value.ok
    page.wait_for_timeout(1500)
    page.screenshot(path=RESULTS / "monailabel-ohif-3-clicked.png")
    # It rounds a click down where its plane lies between two voxels; what counts is the voxel that it asked for.
    (asked,) = re.findall(r'"foreground":\[\[(\d+),(\d+),(\d+)\]\]', answer.value.request.post_data or "")
    i, j, k = map(int, asked)
    assert max(abs(k - at[0]), abs(j - at[1]), abs(i - at[2])) <= 1
    # A new answer replaces what the organ had, and keeps the others.
    expected = np.where(bands == 2, 2, 0)
    expected[tuple(slice(x - RADIUS, x + RADIUS + 1) for x in (k, j, i))] = 1
    np.testing.assert_array_equal(segments(page), expected)

    with page.expect_response(re.compile("/activelearning/")) as answer:
        panel.get_by_text("Active Learning").click()
        panel.get_by_role("button", name="Next Sample").click()
    assert answer.value.ok
    picked = answer.value.json()
    expect(page.locator("body")).to_contain_text("Active Learning - Next Sample")
    page.screenshot(path=RESULTS / "monailabel-ohif-4-next.png")
    page.get_by_role("button", name="OK").click()
    page.wait_for_url(re.compile(re.escape(picked["StudyInstanceUID"])))
