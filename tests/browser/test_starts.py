"""Starting from a model's mask and from a stored version, in the panel: prompts correct it, undo takes it back."""

from __future__ import annotations

import gzip
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from playwright.sync_api import expect

from tests.browser.page import Visit
from tests.browser.site import RADIUS, SHAPE, Site
from tests.browser.test_panel import mask

pytestmark = pytest.mark.browser

NAME = "oblique"


def segmented(site: Site) -> NDArray[np.uint8]:
    """What the automatic model says of the case: 1 for the liver, 2 for the spleen."""
    asked = {"model": "bands"}
    answer: Any = requests.post(f"{site.url}/api/v1/cases/{site.cases[NAME]}/segment", json=asked, timeout=60).json()
    assert answer["labels"] == {"liver": 1, "spleen": 2}
    return np.frombuffer(gzip.decompress(b64decode(answer["voxels"])), np.uint8).reshape(SHAPE)


def test_starting_from_a_model_and_from_a_version(visit: Visit) -> None:
    page, site = visit.page, visit.site
    bands = segmented(site)
    visit.open(NAME)
    source, start = visit.panel("start-source"), visit.panel("start")
    expect(source.locator("option")).to_have_text(["bands"])

    start.click()
    visit.until("This is liver from bands")
    expected = (bands == 1).astype(np.uint8)
    found = mask(page)
    np.testing.assert_array_equal(found, expected)
    k, j, i = (int(x) for x in np.argwhere(expected)[len(np.argwhere(expected)) // 2])
    visit.go_to_slice(NAME, k)
    visit.picture("started")

    page.keyboard.press("p")
    page.keyboard.press("x")
    visit.click(NAME, (k, j, i))
    corrected = expected.copy()
    corrected[tuple(slice(max(0, x - RADIUS), x + RADIUS + 1) for x in (k, j, i))] = 0
    np.testing.assert_array_equal(mask(page), corrected)
    page.keyboard.press("u")
    visit.until("Taken back")
    np.testing.assert_array_equal(mask(page), expected)

    # Another structure starts beside what is there already, and from nothing that was not submitted.
    page.locator("[data-structure=spleen]").click()
    start.click()
    visit.until("This is spleen from bands")
    np.testing.assert_array_equal(mask(page), bands)
    # The correction of the liver was taken back: both are as the model made them.
    visit.panel("submit").click()
    visit.until("nobody has looked at it")
    visit.panel("state-liver").click()
    visit.panel("state-spleen").click()
    visit.panel("submit").click()
    visit.until("Stored as version 1")

    page.locator("[data-structure=liver]").click()
    expect(source.locator("option")).to_have_count(2)
    visit.click(NAME, (k, j, i))  # still excluding
    assert (mask(page) != bands).any()
    source.select_option(index=1)
    start.click()
    visit.until("This replaces what is labelled")
    start.click()
    visit.until("This is liver from version 1")
    np.testing.assert_array_equal(mask(page), bands)
    page.keyboard.press("u")
    visit.until("Taken back")
    assert (mask(page) != bands).any()
    visit.picture("from-a-version")


def test_what_a_brush_did_is_there_again_after_an_undo(visit: Visit) -> None:
    page = visit.page
    visit.open(NAME)
    k = SHAPE[0] // 2
    visit.go_to_slice(NAME, k)
    page.keyboard.press("b")
    x, y = visit.spot(NAME, (k, 30, 20))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 3, y)
    page.mouse.up()
    page.wait_for_timeout(500)
    brushed = mask(page)
    assert brushed.any()
    visit.panel("start").click()
    visit.until("This replaces what is labelled")
    visit.panel("start").click()
    visit.until("This is liver from bands")
    assert (mask(page) == (segmented(visit.site) == 1)).all()
    page.keyboard.press("u")
    visit.until("Taken back")
    np.testing.assert_array_equal(mask(page), brushed)
