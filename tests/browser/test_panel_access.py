"""Whether everyone can use the panel: by keyboard, by ear, and by eye on OHIF's dark page."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Route, expect

from tests.browser.axe import serious
from tests.browser.page import Visit

pytestmark = pytest.mark.browser

NAME = "straight"
AT = (23, 32, 16)
PANEL = ".segloop"


def structure(visit: Visit, name: str) -> Locator:
    return visit.page.locator(f"[data-structure={name}]")


def test_axe_finds_nothing_serious_before_there_is_a_case(visit: Visit) -> None:
    site = visit.site
    with visit.held("**/api/v1/server", Route.abort):
        visit.page.goto(f"{site.url}/ohif/segloop?StudyInstanceUIDs={site.studies[NAME]}")
        visit.accept()
        visit.page.locator(PANEL).get_by_text("Connecting").wait_for()
        expect(visit.panel("next")).to_be_disabled()
        visit.picture("connecting")
        assert serious(visit.page, PANEL) == []
    visit.until("The server does not answer")
    visit.picture("no-server")
    assert serious(visit.page, PANEL) == []
    visit.until("Ready")  # it asks again by itself
    visit.watched.forgive("ERR_FAILED")


def test_axe_finds_nothing_serious_while_one_works(visit: Visit) -> None:
    page = visit.page
    visit.open(NAME)
    assert serious(page, PANEL) == []
    visit.go_to_slice(NAME, AT[0])
    visit.panel("point").click()
    with visit.held("**/prompts"):
        page.mouse.click(*visit.spot(NAME, AT))
        page.locator(PANEL).get_by_text("Segmenting").wait_for()
        assert serious(page, PANEL) == [], "while the model works"
    visit.answered()
    visit.panel("exclude").click()
    assert serious(page, PANEL) == [], "with an answer"

    visit.panel("automatic").select_option("segmentation")
    visit.panel("segment").click()
    visit.until("Press once more")
    visit.picture("error")
    assert serious(page, PANEL) == [], "with an error"

    visit.panel("comment").fill("with a comment")
    visit.panel("submit").click()
    visit.until("Stored as version 1")
    page.get_by_text("Keyboard shortcuts").click()
    visit.picture("history")
    assert serious(page, PANEL) == [], "with a history and the keys"
    visit.panel("train").click()
    visit.panel("stop").wait_for()
    assert serious(page, PANEL) == [], "with a job"
    visit.panel("stop").click()
    expect(visit.panel("stop")).to_have_count(0, timeout=40_000)


def test_what_happens_is_read_out(visit: Visit) -> None:
    """Live regions are there from the start, and only their text changes: others are read by few readers."""
    visit.open(NAME)
    line = visit.panel("status")
    status, alert = line.get_by_role("status"), line.get_by_role("alert", include_hidden=True)
    status.evaluate("node => { node.since = 'the start' }")
    alert.evaluate("node => { node.since = 'the start' }")
    visit.go_to_slice(NAME, AT[0])
    visit.panel("point").click()
    visit.click(NAME, AT)
    expect(status).to_contain_text("Answered in")
    expect(alert).to_be_empty()
    visit.panel("next").click()
    expect(alert).to_contain_text("Press once more to leave them")
    expect(status).to_be_empty()
    assert [one.evaluate("node => node.since") for one in (status, alert)] == ["the start"] * 2


def test_structures_and_meanings_by_arrow_keys(visit: Visit) -> None:
    """One stop of the tab key for each group; to OHIF an arrow would be another image."""
    page = visit.page
    visit.open(NAME)
    image = "window.cornerstone.getEnabledElements()[0].viewport.getCurrentImageIdIndex()"
    before = page.evaluate(image)
    structure(visit, "liver").focus()
    page.keyboard.press("ArrowDown")
    expect(structure(visit, "spleen")).to_have_attribute("aria-checked", "true")
    expect(structure(visit, "spleen")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(structure(visit, "liver")).to_be_focused()
    page.keyboard.press("Tab")
    expect(visit.panel("state-liver")).to_be_focused()
    page.keyboard.press("Space")
    expect(visit.panel("state-liver")).to_have_text("absent")
    page.keyboard.press("Tab")
    expect(visit.panel("model")).to_be_focused()
    visit.panel("include").focus()
    page.keyboard.press("ArrowRight")
    expect(visit.panel("exclude")).to_be_focused()
    expect(visit.panel("exclude")).to_have_attribute("aria-checked", "true")
    assert page.evaluate(image) == before


def test_keys_on_a_button_press_it_and_nothing_else(visit: Visit) -> None:
    page = visit.page
    visit.open(NAME)
    zoom = "window.cornerstone.getEnabledElements()[0].viewport.getZoom()"
    page.evaluate("() => { const { viewport } = window.cornerstone.getEnabledElements()[0]; viewport.setZoom(2) }")
    before = page.evaluate(zoom)
    visit.panel("scribble").focus()
    page.keyboard.press("Space")  # OHIF's key to show the whole image again
    expect(visit.panel("scribble")).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(300)
    assert page.evaluate(zoom) == pytest.approx(before)


def test_another_case_keeps_the_keyboards_place(visit: Visit) -> None:
    """OHIF takes the panel out of the page and in again."""
    page = visit.page
    page.set_viewport_size({"width": 1400, "height": 600})
    visit.open(NAME)
    visit.panel("next").focus()
    page.keyboard.press("Tab")
    expect(visit.panel("skip")).to_be_focused()
    page.locator(PANEL).evaluate("node => { node.scrollTop = 120 }")
    page.wait_for_timeout(200)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: visit.site.cases[NAME] not in url)
    visit.opened()
    expect(visit.panel("skip")).to_be_focused()
    # What is above may be a line longer or shorter now.
    assert page.locator(PANEL).evaluate("node => node.scrollTop") == pytest.approx(120, abs=50)
