"""What else the panel does: taking back, excluding, segmenting by itself, versions, keys, training, errors."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from app.services.prompting.ending import PatchProgress
from tests.browser.page import Visit
from tests.browser.site import RADIUS, SHAPE

pytestmark = pytest.mark.browser

NAME = "straight"
AT = (23, 32, 16)
CUBE = tuple(slice(x - RADIUS, x + RADIUS + 1) for x in AT)


def mask(page: Page) -> np.ndarray:
    """The label map as the viewer has it: (k, j, i), each image where its position says."""
    read = """() => { const { segmentation } = window.cornerstoneTools, { cache, metaData } = window.cornerstone;
        const { imageIds, referencedImageIds } = segmentation.state.getSegmentations()[0].representationData.Labelmap;
        return imageIds.map((id, n) => [metaData.get('imagePlaneModule', referencedImageIds[n]).imagePositionPatient[2],
            [...cache.getImage(id).voxelManager.getScalarData()]]) }"""
    slices = sorted(page.evaluate(read))
    return np.array([voxels for _, voxels in slices], np.uint8).reshape(SHAPE)


def test_keys_excluding_and_taking_back(visit: Visit) -> None:
    page = visit.page
    visit.open(NAME)
    visit.go_to_slice(NAME, AT[0])
    page.keyboard.press("p")
    expect(visit.panel("point")).to_have_attribute("aria-pressed", "true")
    visit.click(NAME, AT)
    expected = np.zeros(SHAPE, np.uint8)
    expected[CUBE] = 1
    np.testing.assert_array_equal(mask(page), expected)

    page.keyboard.press("x")
    expect(visit.panel("exclude")).to_have_attribute("aria-checked", "true")
    visit.click(NAME, (AT[0], AT[1], AT[2] + 4))
    without = expected.copy()
    without[:, :, AT[2] + 2 :] = 0
    np.testing.assert_array_equal(mask(page), without)
    page.keyboard.press("u")
    visit.until("Taken back")
    np.testing.assert_array_equal(mask(page), expected)
    page.keyboard.press("Control+z")
    expect(visit.panel("undo")).to_be_disabled()
    assert not mask(page).any()
    page.keyboard.press("u")
    visit.until("Nothing more can be taken back")
    page.keyboard.press("Control+y")
    visit.until("Made again")
    np.testing.assert_array_equal(mask(page), expected)
    visit.panel("redo").click()
    expect(visit.panel("redo")).to_be_disabled()
    np.testing.assert_array_equal(mask(page), without)
    page.keyboard.press("u")
    visit.until("Taken back")

    # A comment is text: no key in it is a command.
    page.keyboard.press("x")
    visit.panel("comment").press_sequentially("box of dogs ux")
    expect(visit.panel("include")).to_have_attribute("aria-checked", "true")
    page.get_by_text("Keyboard shortcuts").click()
    keys = page.locator(".segloop kbd").all_inner_texts()
    assert len(keys) == len(set(keys)) > 10
    visit.picture("keys")


def test_how_far_a_long_prompt_is(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model here looks at no patches; the server is made to say that it does."""
    prompting = visit.site.services.prompting
    visit.open(NAME)
    visit.go_to_slice(NAME, AT[0])
    visit.panel("point").click()
    with visit.held("**/prompts"):
        x, y = visit.spot(NAME, AT)
        visit.page.mouse.click(x, y)
        name = prompting.log.all()[0].name  # the session that was opened last
        monkeypatch.setattr(prompting, "progress", lambda: [PatchProgress(name, 1, 3), PatchProgress("other", 7, None)])
        expect(visit.panel("status")).to_contain_text("1 of at most 3 patches done")
        visit.picture("progress")
    visit.until("Answered in")


def test_another_structure_keeps_its_voxels_and_brushes_take_part(visit: Visit) -> None:
    page = visit.page
    visit.open(NAME)
    visit.go_to_slice(NAME, AT[0])
    visit.panel("point").click()
    visit.click(NAME, AT)
    page.keyboard.press("k")
    expect(page.locator("[data-structure=spleen]")).to_have_attribute("aria-checked", "true")
    visit.panel("box").click()
    visit.stroke(NAME, [(AT[0], 30, 10), (AT[0], 40, 30)])
    visit.answered()
    expected = np.zeros(SHAPE, np.uint8)
    expected[AT[0], 30:41, 10:31] = 2
    expected[CUBE] = 1
    np.testing.assert_array_equal(mask(page), expected)

    # What OHIF's eraser took away does not come back with the next prompt, and is there again when it is taken back.
    page.keyboard.press("e")
    x, y = visit.spot(NAME, (AT[0], 36, 28))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 4, y)
    page.mouse.up()
    page.wait_for_timeout(700)
    erased = mask(page)
    assert 0 < np.count_nonzero(erased == 2) < np.count_nonzero(expected == 2)
    page.keyboard.press("p")
    visit.click(NAME, (AT[0], 55, 24))
    after = erased.copy()
    after[AT[0] - RADIUS : AT[0] + RADIUS + 1, 53:58, 22:27] = 2
    np.testing.assert_array_equal(mask(page), after)
    page.keyboard.press("u")
    visit.until("Taken back")
    np.testing.assert_array_equal(mask(page), erased)
    visit.picture("erased")


def test_segments_by_itself_and_loads_a_version(visit: Visit) -> None:
    page = visit.page
    visit.open("reversed")
    page.keyboard.press("g")
    visit.until("bands is done")
    found = mask(page)
    values = visit.site.truth["reversed"].voxels.astype(float)
    bands = np.minimum(np.floor((values - values.min()) / np.ptp(values) * 3), 2)
    np.testing.assert_array_equal(found, bands)
    visit.picture("segmented")
    visit.panel("accept").click()
    visit.panel("submit").click()
    visit.until("Stored as version 1")

    visit.panel("point").click()
    visit.go_to_slice("reversed", 20)
    visit.click("reversed", (20, 3, 3))
    assert not np.array_equal(mask(page), bands)
    load = page.get_by_role("button", name=re.compile("^Load version 1"))
    load.click()
    visit.until("Press once more")
    load.click()
    visit.until("This is version 1")
    np.testing.assert_array_equal(mask(page), bands)


def test_errors_say_what_to_do(visit: Visit) -> None:
    page = visit.page
    visit.open("oblique")
    page.keyboard.press("p")
    page.mouse.click(330, 860)
    visit.until("outside the image")
    visit.panel("submit").click()
    visit.until("there is nothing to submit")
    expect(visit.panel("status").get_by_role("alert")).to_contain_text("nothing is marked as absent")
    visit.panel("automatic").select_option("segmentation")
    visit.panel("segment").click()
    visit.until("segmentation has no weights yet")
    page.route("**/prompts", lambda route: route.abort())
    visit.go_to_slice("oblique", AT[0])
    page.mouse.click(*visit.spot("oblique", AT))
    visit.until("The server does not answer")
    visit.picture("error")
    page.unroute("**/prompts")
    visit.click("oblique", AT)
    np.testing.assert_array_equal(np.nonzero(mask_at(page))[0].size, (2 * RADIUS + 1) ** 3)
    visit.watched.forgive("503", "ERR_FAILED")


def test_an_answer_after_the_case_was_left_is_no_part_of_the_next(visit: Visit) -> None:
    page = visit.page
    visit.open("oblique")
    visit.go_to_slice("oblique", AT[0])
    visit.panel("point").click()
    with visit.held("**/prompts"):
        page.mouse.click(*visit.spot("oblique", AT))
        page.locator(".segloop").get_by_text("Segmenting").wait_for()
        there = f"/segloop?StudyInstanceUIDs={visit.site.studies['both']}"
        page.evaluate("to => window.commandsManager.run('navigateHistory', { to })", there)
        page.wait_for_url(f"**{there}")
        page.wait_for_timeout(1500)
    visit.opened()
    visit.go_to_slice("both", AT[0])
    visit.click("both", AT)
    visit.panel("submit").click()
    visit.until("Stored as version")
    expected = np.zeros(SHAPE, np.uint8)
    expected[CUBE] = 1
    np.testing.assert_array_equal(visit.submitted[-1], expected)
    np.testing.assert_array_equal(visit.site.stored("both")["liver"], expected)


def test_what_was_removed_in_the_viewers_own_table_stays_removed(visit: Visit) -> None:
    page = visit.page
    visit.open("oblique")
    visit.go_to_slice("oblique", AT[0])
    visit.panel("point").click()
    visit.click("oblique", AT)
    table = "window.services.segmentationService"
    page.evaluate(f"() => {table}.remove({table}.getSegmentations()[0].segmentationId)")
    page.wait_for_timeout(500)
    other = (AT[0], AT[1] + 10, AT[2])
    visit.click("oblique", other)
    visit.panel("submit").click()
    visit.until("Stored as version")
    expected = np.zeros(SHAPE, np.uint8)
    expected[tuple(slice(x - RADIUS, x + RADIUS + 1) for x in other)] = 1
    np.testing.assert_array_equal(visit.submitted[-1], expected)


def mask_at(page: Page) -> np.ndarray:
    """All voxels, in no order that means anything."""
    read = """() => { const { imageIds } = window.cornerstoneTools.segmentation.state.getSegmentations()[0]
            .representationData.Labelmap;
        return imageIds.map(id => [...window.cornerstone.cache.getImage(id).voxelManager.getScalarData()]) }"""
    return np.array(page.evaluate(read), np.uint8)


def test_trains_and_stops(visit: Visit) -> None:
    """The job waits for its turn in a process of its own; here it is only asked for and stopped."""
    visit.open(NAME)
    visit.panel("point").click()
    visit.go_to_slice(NAME, AT[0])
    visit.click(NAME, AT)
    visit.panel("submit").click()
    visit.until("Stored as version")
    visit.panel("train").click()
    stop = visit.panel("stop")
    stop.wait_for()
    visit.picture("training")
    stop.click()
    until = time.monotonic() + 40
    while visit.site.get("jobs")[0]["state"] in ("queued", "running") and time.monotonic() < until:
        time.sleep(0.2)
    expect(visit.panel("jobs")).to_contain_text(re.compile("stopped|failed|done"))
    expect(visit.panel("stop")).to_have_count(0)
