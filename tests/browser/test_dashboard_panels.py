"""Each panel of the page at `/`, in a real browser, with what the server knows."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import expect

from app.learning.runner import started
from tests.browser.dashboard_site import Site, submit
from tests.browser.watching import Watched

pytestmark = pytest.mark.browser


def test_progress_counts_a_label_that_comes_while_one_looks(dashboard: Watched, dashboard_site: Site) -> None:
    panel = dashboard.page.locator("#progress")
    expect(panel.locator(".figure")).to_have_text("4 of 15 cases labelled")
    expect(panel.locator("canvas")).to_have_count(1)
    people = panel.get_by_role("region", name="Labels by person").locator("tbody tr")
    expect(people.nth(0)).to_contain_text("anna")
    expect(people.nth(0).locator(".number")).to_have_text(["3", "3"])
    expect(people.nth(1).locator(".number")).to_have_text(["1", "1"])
    unlabelled = next(row.case.id for row in dashboard_site.services.cases.all() if not row.completed)
    submit(dashboard_site.services, unlabelled, "bo", "came while one looked")
    expect(panel.locator(".figure")).to_have_text("5 of 15 cases labelled")
    expect(people.nth(1).locator(".number")).to_have_text(["2", "2"])
    expect(dashboard.page.locator("#labels tbody tr").first).to_contain_text("came while one looked")
    expect(panel.locator("canvas")).to_have_count(1)
    panel.get_by_text("By day").click()
    days = panel.get_by_role("region", name="Labels by day").locator("tbody tr")
    expect(days.first.locator(".number").last).to_have_text("5")
    dashboard.screenshot("dashboard-progress")


def test_learning_curve_marks_what_was_rejected(dashboard: Watched) -> None:
    panel = dashboard.page.locator("#learning")
    expect(panel.locator("canvas")).to_have_count(1)
    panel.get_by_text("As a table").click()
    rows = panel.locator("tbody tr")
    expect(rows.locator("th")).to_have_text(["bands-1", "bands-2", "bands-3"])
    expect(rows.nth(1)).to_contain_text("0.471")
    expect(rows.nth(1)).to_contain_text("rejected")
    expect(rows.nth(2)).to_contain_text("in use")
    dashboard.screenshot("dashboard-learning")


def test_queue_turns_its_pages_and_changes_its_strategy(dashboard: Watched) -> None:
    page, panel = dashboard.page, dashboard.page.locator("#queue")
    panel.scroll_into_view_if_needed()
    cases = panel.locator(".case")
    expect(cases).to_have_count(8)
    expect(cases.first).to_contain_text("entropy 0.55")
    expect(cases.first.locator("img")).to_have_attribute("alt", "The slice to look at, number 9")
    page.wait_for_function("document.querySelector('.case img').naturalWidth > 0")
    first = cases.first.locator("strong").get_attribute("title")
    panel.get_by_role("link", name="After").click()
    expect(panel.locator(".pages span")).to_have_text("Page 2 of 2")
    assert "page=2" in page.url
    assert first not in cases.locator("strong").evaluate_all("all => all.map(one => one.title)")
    panel.get_by_label("Strategy").select_option("first")
    panel.get_by_role("button", name="Show").click()
    expect(cases.first).to_contain_text("first in the archive's order")
    dashboard.screenshot("dashboard-queue")
    page.reload()
    expect(cases.first).to_contain_text("first in the archive's order")


def test_jobs_move_while_one_looks(dashboard: Watched, dashboard_site: Site) -> None:
    jobs = dashboard_site.services.project.catalog.jobs
    job = jobs.add("score", "bands", {"who": "clock"})
    row = dashboard.page.locator(f"[data-job='{job.id}']")
    expect(row).to_contain_text("queued")
    jobs.started(job.id, os.getpid(), started(os.getpid()) or 0.0)
    jobs.progress(job.id, 0.25)
    expect(row).to_contain_text("running")
    expect(row.locator(".bar .number")).to_have_text("25 %")
    jobs.progress(job.id, 0.75)
    expect(row.locator(".bar .number")).to_have_text("75 %")
    folder = dashboard_site.services.project.paths.jobs / job.id
    folder.mkdir()
    (folder / "log.txt").write_text("first line\n<b>second</b> line\n")
    row.get_by_role("link", name="Log").click()
    log = dashboard.page.get_by_role("dialog", name="Log of Scoring bands")
    expect(log.locator("pre")).to_have_text("first line\n<b>second</b> line\n")
    with (folder / "log.txt").open("a") as stream:
        stream.write("third line\n")
    expect(log.locator("pre")).to_contain_text("third line")
    dashboard.screenshot("dashboard-log")
    dashboard.page.keyboard.press("Escape")
    expect(row.get_by_role("link", name="Log")).to_be_focused()
    jobs.finish(job.id, "done", {"scored": 6, "left": 0, "version": "bands-3"})
    expect(row).to_contain_text("6 cases scored by bands-3")
    expect(row.get_by_role("button", name="Stop")).to_have_count(0)


def test_model_versions_with_their_metrics(dashboard: Watched) -> None:
    rows = dashboard.page.locator("#models tbody tr")
    expect(rows.nth(0)).to_contain_text("bands-3")
    expect(rows.nth(0).locator(".number")).to_have_text(["0.684", "5", "2"])
    expect(rows.nth(0)).to_contain_text("liver 0.734, spleen 0.634")
    expect(rows.nth(0).get_by_role("button")).to_have_count(0)
    expect(rows.nth(1).get_by_role("button", name="Publish bands-2")).to_be_visible()
    expect(rows.nth(2).get_by_role("button", name="Use bands-1")).to_be_visible()


def test_recent_labels_name_author_version_and_comment(dashboard: Watched, dashboard_site: Site) -> None:
    row = dashboard.page.locator("#labels tbody tr").filter(has_text="tail of the liver unsure")
    expect(row).to_contain_text("bo")
    expect(row).to_contain_text("final 1")
    expect(row.locator("time")).to_have_attribute("title", row.locator("time").get_attribute("datetime") or "")
    with dashboard.page.expect_download() as download:
        row.get_by_role("link", name="File").click()
    label = next(one for one in dashboard_site.services.project.catalog.labels.all_versions() if one.comment)
    stored = dashboard_site.services.project.labels.path(label).read_bytes()
    assert download.value.path().read_bytes() == stored


def test_archive_that_goes_away_and_comes_back(dashboard: Watched, dashboard_site: Site) -> None:
    page, services = dashboard.page, dashboard_site.services
    panel = page.locator("#archive")
    expect(panel.locator(".facts")).to_contain_text("answers")
    expect(panel).to_contain_text("PHANTOM-00040")
    expect(panel).to_contain_text("missing")
    dashboard_site.archive.available = False
    services.sync.run()
    case_id = next(row.case.id for row in services.cases.all() if row.completed)
    label_id = submit(services, case_id, "anna", name="spleen")
    row = panel.get_by_role("region", name="Labels that wait").locator("tbody tr")
    expect(row).to_contain_text("switched off", timeout=30_000)
    expect(panel.locator(".facts")).to_contain_text("can't be read")
    expect(page.locator(".notices")).to_contain_text("A label waits for the archive")
    dashboard.screenshot("dashboard-archive")
    dashboard_site.archive.available = True
    services.sync.run()
    services.project.catalog.outbox.retry_now()
    expect(panel).to_contain_text("No label waits for the archive", timeout=30_000)
    assert services.deliveries.states([label_id]) == {label_id: "delivered"}


def test_sessions_and_the_memory_they_take(dashboard: Watched, dashboard_site: Site) -> None:
    panel = dashboard.page.locator("#sessions")
    row = panel.locator("tbody tr").first
    expect(row).to_contain_text("ITK-SNAP")
    expect(row).to_contain_text("cem")
    expect(row).to_contain_text("clicks")
    expect(row.locator(".number")).to_have_text("1")
    size = dashboard_site.services.prompting.memory[1]
    expect(panel.get_by_role("progressbar")).to_have_js_property("value", size)
    dashboard.screenshot("dashboard-sessions")


def test_what_to_type_into_each_viewer(dashboard: Watched, dashboard_site: Site) -> None:
    page, panel = dashboard.page, dashboard.page.locator("#viewers")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    expect(panel.get_by_role("link", name="open OHIF")).to_have_attribute("href", "ohif/")
    panel.get_by_role("button", name="Copy server of 3D Slicer, module MONAI Label").click()
    expect(page.locator("#said")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == dashboard_site.url.rstrip("/")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")  # as on a page without https
    panel.get_by_role("button", name="Copy API key of napari").click()
    expect(page.locator("#said")).to_contain_text("CopiedCopied")
    dashboard.screenshot("dashboard-viewers")
