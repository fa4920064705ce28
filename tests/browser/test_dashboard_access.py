"""Whether everyone can use the page at `/`: by eye or ear, on small screens, in the dark, with less than a browser
can do, and from wherever it is reached."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from app.learning.runner import started
from tests.browser.axe import serious
from tests.browser.dashboard_site import Site, serving, submit
from tests.browser.watching import watched

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def empty_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server at its very beginning, without a token."""
    with serving(tmp_path_factory.mktemp("empty") / "workspace", full=False) as site:
        yield site


@pytest.fixture(scope="module")
def busy_site(dashboard_site: Site) -> Site:
    """With a job in each state."""
    jobs = dashboard_site.services.project.catalog.jobs
    failed = jobs.add("train", "bands", {"who": "anna"})
    jobs.finish(failed.id, "failed", {}, "no final label has one of the structures")
    scored = jobs.add("score", "bands", {"who": "clock"})
    jobs.finish(scored.id, "done", {"scored": 6, "left": 2, "version": "bands-3"})
    running = jobs.add("train", "bands", {"who": "anna"})
    jobs.started(running.id, os.getpid(), started(os.getpid()) or 0.0)
    jobs.note(running.id, "epoch", {"epoch": 12, "total": 50, "metrics": {"loss": 0.31, "dice": 0.71}})
    jobs.progress(running.id, 0.216)
    return dashboard_site


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(chromium: Browser, busy_site: Site, scheme) -> None:
    with watched(chromium, busy_site.url, scheme) as dashboard:
        page = dashboard.page
        page.locator("#connection[data-state=live]").wait_for()
        for summary in page.locator("summary").all():
            summary.click()
        dashboard.screenshot(f"dashboard-{scheme}", whole=True)
        assert serious(page) == []
        page.locator("#sessions").get_by_role("button", name="Submit").click()
        assert serious(page) == []
        page.keyboard.press("Escape")
        page.get_by_role("link", name="Log").first.click()
        assert serious(page) == []
    assert dashboard.wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_while_there_is_nothing(chromium: Browser, empty_site: Site, scheme) -> None:
    with watched(chromium, empty_site.url, scheme) as dashboard:
        dashboard.page.locator("#connection[data-state=live]").wait_for()
        dashboard.screenshot(f"dashboard-empty-{scheme}", whole=True)
        assert serious(dashboard.page) == []
    assert dashboard.wrong == []


def test_empty_panels_say_what_will_be_there(chromium: Browser, empty_site: Site) -> None:
    with watched(chromium, empty_site.url) as dashboard:
        texts = dashboard.page.locator(".panel .empty").all_inner_texts()
    assert [text.partition(":")[0].partition(";")[0] for text in texts] == [
        "No cases yet",
        "No model has been trained yet",
        "Nothing is left to label. Images that can't be used are listed under Archive and outbox.",
        "No jobs yet",
        "No versions yet",
        "No labels yet",
        "No label waits for the archive.",
        "No sessions yet",
    ]


@pytest.mark.parametrize("width", [400, 768, 1280])
def test_nothing_is_wider_than_the_screen(chromium: Browser, busy_site: Site, width: int) -> None:
    with watched(chromium, busy_site.url, width=width) as dashboard:
        page = dashboard.page
        page.locator("#connection[data-state=live]").wait_for()
        dashboard.screenshot(f"dashboard-{width}", whole=True)
        assert page.evaluate("document.documentElement.scrollWidth") == width
    assert dashboard.wrong == []


def test_a_chart_follows_the_width_and_the_colours(chromium: Browser, busy_site: Site) -> None:
    with watched(chromium, busy_site.url) as dashboard:
        page = dashboard.page
        canvas = page.locator("#learning canvas")
        canvas.wait_for()
        light = canvas.evaluate("one => one.toDataURL()")
        page.emulate_media(color_scheme="dark")
        page.wait_for_function("before => document.querySelector('#learning canvas').toDataURL() !== before", arg=light)
        wide = canvas.bounding_box()
        page.set_viewport_size({"width": 500, "height": 800})
        page.wait_for_function(
            "before => document.querySelector('#learning canvas').clientWidth < before", arg=wide["width"]
        )
    assert dashboard.wrong == []


def test_it_can_be_read_without_javascript(chromium: Browser, busy_site: Site) -> None:
    with watched(chromium, busy_site.url, java_script_enabled=False) as dashboard:
        page = dashboard.page
        expect(page.locator("#progress .figure")).to_contain_text("of 15 cases labelled")
        expect(page.locator("noscript")).to_be_visible()
        assert page.locator("button:visible").all_inner_texts() == ["Show"]
        page.get_by_role("link", name="After").click()
        expect(page.locator("#queue .pages span")).to_have_text("Page 2 of 2")
        page.get_by_label("Strategy").select_option("last")
        page.get_by_role("button", name="Show").click()
        expect(page.locator(".case").first).to_contain_text("last in the archive's order")
        log = page.locator("#jobs").get_by_role("link", name="Log").first.evaluate("link => link.href")
        assert page.context.request.get(log).headers["content-type"].startswith("text/plain")
    assert dashboard.wrong == []


def test_times_are_the_readers(chromium: Browser, busy_site: Site) -> None:
    with watched(chromium, busy_site.url, timezone_id="Asia/Tokyo") as dashboard:
        page = dashboard.page
        page.get_by_text("By day").click()
        expect(page.locator("#by-day thead")).to_contain_text("Asia/Tokyo")
        time = page.locator("#labels time").last
        exact = time.get_attribute("title")
        told = "new Intl.DateTimeFormat('en-GB', {dateStyle: 'medium', timeStyle: 'short'}).format(new Date(exact))"
        expect(time).to_have_text(page.evaluate(f"exact => {told}", exact))
    assert dashboard.wrong == []


def test_without_events_it_asks_now_and_then(chromium: Browser, empty_site: Site, busy_site: Site) -> None:
    with watched(chromium, busy_site.url) as dashboard:
        page = dashboard.page
        page.locator("#connection[data-state=live]").wait_for()
        page.route("**/api/v1/events", lambda route: route.abort())
        page.reload()
        expect(page.locator("#connection")).to_have_text("Asking every few seconds")
        unlabelled = next(row.case.id for row in busy_site.services.cases.all() if not row.completed)
        submit(busy_site.services, unlabelled, "bo", "found by asking")
        expect(page.locator("#labels tbody tr").first).to_contain_text("found by asking", timeout=15_000)
        dashboard.forgive("ERR_FAILED")
    assert dashboard.wrong == []


def test_under_a_name_and_without_a_token(chromium: Browser, empty_site: Site) -> None:
    with watched(chromium, f"{empty_site.url}u/Dr.%20B%C3%B6hm/") as dashboard:
        page = dashboard.page
        page.locator("#connection[data-state=live]").wait_for()
        expect(page.locator(".title")).to_contain_text("you are Dr. Böhm")
        page.locator("#jobs").get_by_role("button", name="Score").click()
        expect(page.locator("#jobs tbody tr")).to_contain_text("by Dr. Böhm")
    assert dashboard.wrong == []
