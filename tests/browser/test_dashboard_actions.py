"""What one can do from the page at `/`, by mouse and by keyboard alone; what comes of it is read from the catalog."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.dashboard_site import Site, open_session, serving, submit
from tests.browser.watching import Watched, watched
from tests.prompting import Steps

pytestmark = pytest.mark.browser


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(tmp_path / "workspace", token="s3cret") as one:
        yield one


@pytest.fixture
def actions(chromium: Browser, site: Site) -> Iterator[Watched]:
    with watched(chromium, f"{site.url}u/ana/") as page:
        page.page.locator("#connection[data-state=live]").wait_for()
        yield page
    assert page.wrong == []


def served(site: Site) -> str:
    return site.services.models.version_served("bands")


def tab_to(page: Page, name: str, most: int = 120) -> None:
    """Press Tab until the control of that name has the keyboard."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if " ".join(page.evaluate("document.activeElement.textContent").split()) == name:
            return
    raise AssertionError(f"{name!r} can't be reached by keyboard")


def test_train_and_stop(actions: Watched, site: Site) -> None:
    panel = actions.page.locator("#jobs")
    panel.get_by_label("for", exact=True).fill("7")
    panel.get_by_role("button", name="Train", exact=True).click()
    expect(actions.page.locator("#said")).to_have_text("Train: queued")
    row = panel.locator("tbody tr")
    expect(row).to_contain_text("Training bands")
    expect(row).to_contain_text("by ana")
    (job,) = site.services.project.catalog.jobs.listed()
    assert (job.kind, job.name, job.request["max_epochs"], job.state) == ("train", "bands", 7, "queued")
    panel.get_by_role("button", name="Train", exact=True).click()
    expect(actions.page.locator("#said .bad")).to_contain_text("already running")
    actions.screenshot("dashboard-refused")
    row.get_by_role("button", name="Stop").click()
    actions.page.get_by_role("button", name="Yes").click()
    expect(row).to_contain_text("stopped")
    assert site.services.project.catalog.jobs.get(job.id).state == "stopped"
    actions.forgive("429")


def test_a_refused_label_shows_as_it_comes_and_is_sent_again(actions: Watched, site: Site) -> None:
    panel = actions.page.locator("#archive")
    case_id = next(row.case.id for row in site.services.cases.all() if not row.completed and not row.problem)
    place = f"final/{case_id}/v0001"
    site.archive.labels[place] = b"somebody else's"
    label_id = submit(site.services, case_id, "ana")
    row = panel.get_by_role("region", name="Labels that the archive refused").locator("tbody tr")
    # Told by an event: the panel by itself is asked for every fifteen seconds only.
    expect(row).to_contain_text("another label is stored", timeout=8_000)
    expect(row).to_contain_text("then retry")
    expect(actions.page.locator(".notices")).to_contain_text("A label was refused by the archive")
    expect(actions.page.locator("#labels tbody tr").first).to_contain_text("refused it")
    panel.scroll_into_view_if_needed()
    actions.screenshot("dashboard-refused-label")
    site.archive.labels.clear()
    row.get_by_role("button", name="Try again").click()
    expect(actions.page.locator("#said")).to_have_text(f"Label {label_id}: sent again")
    expect(panel).not_to_contain_text("Refused by the archive", timeout=8_000)
    expect(actions.page.locator("#labels tbody tr").first).to_contain_text("has it", timeout=8_000)
    assert list(site.archive.labels) == [place]


def test_score(actions: Watched, site: Site) -> None:
    actions.page.locator("#jobs").get_by_role("button", name="Score").click()
    expect(actions.page.locator("#jobs tbody tr")).to_contain_text("Scoring bands")
    assert [job.kind for job in site.services.project.catalog.jobs.listed()] == ["score"]


def test_publish_what_was_rejected_and_roll_back(actions: Watched, site: Site) -> None:
    page, panel = actions.page, actions.page.locator("#models")
    panel.get_by_role("button", name="Publish bands-2").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Use bands-2 instead of bands-3? The gate rejected it")
    actions.screenshot("dashboard-confirm")
    dialog.get_by_role("button", name="Cancel").click()
    assert served(site) == "bands-3"
    panel.get_by_role("button", name="Publish bands-2").click()
    dialog.get_by_role("button", name="Yes").click()
    expect(panel.locator("tr.current th")).to_have_text(re.compile("^bands-2"))
    assert served(site) == "bands-2"
    panel.get_by_role("button", name="Roll back bands").click()
    expect(dialog).to_contain_text("Roll bands back from bands-2 to bands-1?")
    dialog.get_by_role("button", name="Yes").click()
    expect(panel.locator("tr.current th")).to_have_text(re.compile("^bands-1"))
    assert served(site) == "bands-1"
    expect(panel.get_by_role("button", name="Roll back bands")).to_have_count(0)


def test_submit_a_session_as_a_label(actions: Watched, site: Site) -> None:
    page = actions.page
    page.locator("#sessions").get_by_role("button", name="Submit").click()
    dialog = page.get_by_role("dialog", name="Submit as label")
    expect(dialog).to_contain_text("cem in ITK-SNAP")
    dialog.get_by_label("Structure").fill("spleen")
    dialog.get_by_label("Comment").fill("from the page")
    actions.screenshot("dashboard-submit")
    dialog.get_by_role("button", name="Submit").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#said")).to_have_text("Submitted")
    expect(page.locator("#labels tbody tr").first).to_contain_text("from the page")
    expect(page.locator("#progress .figure")).to_have_text("5 of 15 cases labelled")
    label = site.services.project.catalog.labels.newest_first(limit=1)[0]
    assert (label.author, label.client, label.comment) == ("cem", "ITK-SNAP", "from the page")
    mask = site.services.labels.mask(label)
    assert [segment.name for segment in mask.segments] == ["spleen"]
    assert mask.labelmap().sum() == 125  # one click: a cube of 5 voxels


def test_a_session_that_can_not_be_submitted_says_why(actions: Watched, site: Site) -> None:
    page = actions.page
    name = open_session(site.services, site.services.cases.all()[6].case.id, "dora")
    record = site.services.sessions.get(name).record
    Steps(site.services).reset(record.id, record.owner)
    row = page.locator("#sessions tbody tr").filter(has_text="dora")
    row.get_by_role("button", name="Submit").click(timeout=30_000)
    page.get_by_role("dialog").get_by_label("Structure").fill("spleen")
    page.get_by_role("dialog").get_by_role("button", name="Submit").click()
    expect(page.get_by_role("dialog", name="Submit as label").get_by_role("status")).to_contain_text(
        "nothing is segmented"
    )
    actions.screenshot("dashboard-submit-refused")
    actions.forgive("400")


def test_by_keyboard_alone(actions: Watched, site: Site) -> None:
    page = actions.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the panels")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    tab_to(page, "After")
    page.keyboard.press("Enter")
    expect(page.locator("#queue .pages span")).to_have_text("Page 2 of 2")
    tab_to(page, "Score")
    page.keyboard.press("Enter")
    stop = page.locator("#jobs tbody").get_by_role("button", name="Stop")
    expect(stop).to_be_visible()
    tab_to(page, "Stop Scoring bands")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(stop).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#jobs tbody tr")).to_contain_text("stopped")
    tab_to(page, "Use bands-1")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Yes")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#models tr.current th")).to_have_text(re.compile("^bands-1"))
    assert served(site) == "bands-1"
    tab_to(page, "Submit the session of cem as label")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Structure")).to_be_focused()
    page.keyboard.type("spleen")
    page.keyboard.press("Tab")
    page.keyboard.type("by keyboard")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#labels tbody tr").first).to_contain_text("by keyboard")


def test_label_the_next_case(actions: Watched, site: Site) -> None:
    """The button claims a case for the person whom OHIF's panel knows, and opens it there."""
    page = actions.page
    page.evaluate("localStorage.setItem('segloop.person', 'Zoë')")
    page.get_by_label("Strategy").select_option("first")
    page.get_by_role("button", name="Label the next case").click()
    page.wait_for_url(re.compile(r"/ohif/segloop\?StudyInstanceUIDs="))
    (claim,) = site.services.next_case.held()
    case = site.services.cases.get(claim.case_id).case
    assert claim.holder == "Zoë"
    assert f"StudyInstanceUIDs={case.study_uid}&initialSeriesInstanceUID={case.series_uid}" in page.url
    actions.wrong.clear()  # without OHIF, the page there says how to get it


def test_cases_of_the_queue_are_links(actions: Watched, site: Site) -> None:
    first = actions.page.locator("#queue .case a").first
    title = actions.page.locator("#queue .case strong").first.get_attribute("title")
    case = site.services.cases.get(str(title)).case
    assert first.get_attribute("href") == (
        f"ohif/segloop?StudyInstanceUIDs={case.study_uid}&initialSeriesInstanceUID={case.series_uid}"
    )


def test_nothing_left_to_label(actions: Watched, site: Site) -> None:
    for _ in range(20):
        if site.services.next_case.next("first", f"person {_}", {}) is None:
            break
    actions.page.get_by_role("button", name="Label the next case").click()
    expect(actions.page.locator("#said")).to_have_text("Every case has a label, or is in someone's hands.")
