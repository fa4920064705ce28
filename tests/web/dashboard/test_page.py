"""The page and its panels as a browser without JavaScript gets them, from the real services."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

import app.web.dashboard
from app.core.label import Submission
from app.core.mask import Mask
from app.core.prompt import Point
from app.services.prompting.log import Viewer
from app.web.dashboard.pages import PANELS
from tests.dialects.monailabel.site import SHAPE, Site, opened
from tests.prompting import Steps

FOLDER = Path(app.web.dashboard.__file__).parent


class Links(HTMLParser):
    """Everything on a page that a browser would ask for, and what the page would do by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.addresses += [given[name] for name in ("href", "src", "action", "data-url", "data-src") if name in given]
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)


NAMES = {"name": "Liver <study>", "description": "Some & all."}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """For tests that only look."""
    with opened(tmp_path_factory.mktemp("site") / "workspace", **NAMES) as one:
        yield one


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Site]:
    """For tests that change what there is to see."""
    with opened(tmp_path / "workspace", **NAMES) as one:
        yield one


def links(html: str) -> Links:
    found = Links()
    found.feed(html)
    return found


def test_names_are_text_and_nothing_else(site: Site) -> None:
    page = site.client.get("/").text
    assert "<h1>Liver &lt;study&gt;</h1>" in page
    assert "Some &amp; all" in page


def test_everything_is_asked_of_this_server_by_relative_addresses(site: Site) -> None:
    found = links(site.client.get("/").text)
    assert len(found.addresses) > 30
    assert [one for one in found.addresses if re.match(r"[a-z]+:|/", one)] == []


def test_nothing_inline_that_the_policy_would_stop(site: Site) -> None:
    answer = site.client.get("/")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert links(answer.text).inline == []


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_alone_is_what_the_page_has(site: Site, name: str) -> None:
    alone = site.client.get(f"/dashboard/panels/{name}")
    assert alone.status_code == 200
    assert alone.text.strip() in site.client.get("/").text


def test_a_panel_that_is_none(site: Site) -> None:
    answer = site.client.get("/dashboard/panels/secrets")
    assert (answer.status_code, answer.json()) == (404, {"detail": "the page has no panel 'secrets'"})


def test_unknown_strategy_is_an_error_of_the_panel_and_no_reason_to_show_no_page(site: Site) -> None:
    assert site.client.get("/dashboard/panels/queue?strategy=magic").status_code == 404
    assert site.client.get("/?strategy=magic").status_code == 200


@pytest.mark.parametrize("query", ["page=0", "page=x", f"strategy={'x' * 201}"])
def test_an_address_that_makes_no_sense(site: Site, query: str) -> None:
    assert site.client.get(f"/dashboard/panels/queue?{query}").status_code == 422


def test_queue_in_the_archives_order_without_holding_anything(site: Site) -> None:
    first = site.client.get("/dashboard/panels/queue?strategy=first").text
    assert first == site.client.get("/dashboard/panels/queue?strategy=first").text
    assert re.findall(r'<strong title="([^"]*)"', first) == list(site.truth)
    last = site.client.get("/dashboard/panels/queue?strategy=last").text
    assert re.findall(r'<strong title="([^"]*)"', last) == list(reversed(site.truth))
    assert site.services.next_case.held() == []


def test_a_random_order_stays_while_one_turns_its_pages(site: Site) -> None:
    orders = {tuple(pick.case_id for pick in site.services.next_case.preview("random", {})) for _ in range(5)}
    assert len(orders) == 1


def test_case_in_someones_hands_leaves_the_queue(fresh: Site) -> None:
    offer = fresh.services.next_case.next("first", "anna", {})
    assert offer is not None
    panel = fresh.client.get("/dashboard/panels/queue?strategy=first").text
    assert re.findall(r'<strong title="([^"]*)"', panel) == list(fresh.truth)[1:]
    assert "anna, until" in panel


def test_thumbnail_of_a_case_whose_id_is_no_path(site: Site) -> None:
    panel = site.client.get("/dashboard/panels/queue?strategy=last").text
    assert 'src="api/v1/cases/case%2007/thumbnail?size=224"' in panel


def test_session_of_a_viewer(fresh: Site) -> None:
    session = fresh.services.prompting.open("o", fresh.series, "clicks", {}, Viewer("ITK-SNAP", "ana"))
    panel = fresh.client.get("/dashboard/panels/sessions").text
    assert "data-submit" not in panel  # nothing was done in it
    Steps(fresh.services).add(session, "o", [Point((4, 10, 8))])
    panel = fresh.client.get("/dashboard/panels/sessions").text
    name = fresh.services.prompting.record(session).name
    assert f'data-url="api/v1/sessions/{name}/label"' in panel
    assert session not in panel
    fresh.services.sessions.submit(name, "liver", "good <b>")
    assert "data-submit" not in fresh.client.get("/dashboard/panels/sessions").text
    labels = fresh.client.get("/dashboard/panels/labels").text
    assert "good &lt;b&gt;" in labels
    assert "<strong>1</strong> of 3 cases labelled" in fresh.client.get("/dashboard/panels/progress").text


def test_image_that_can_not_be_used_is_named(fresh: Site) -> None:
    fresh.services.project.catalog.cases.mark_problem("case 07", "slices are missing")
    assert "slices are missing" in fresh.client.get("/dashboard/panels/archive").text
    assert "An image can&#39;t be used" in fresh.client.get("/dashboard/panels/attention").text


def test_label_that_the_archive_refused_can_be_sent_again(fresh: Site) -> None:
    fresh.services.clock.shutdown()
    outbox = fresh.services.project.catalog.outbox
    labels = []
    for case_id in list(fresh.truth)[:2]:
        mask = Mask.single(np.ones(SHAPE, np.uint8), ["liver"], fresh.services.cases.volume(case_id).geometry)
        labels.append(fresh.services.labels.submit_mask(case_id, mask, Submission("ana", "test")).id)
    outbox.refused(labels[0], "it holds <another> object", "Move it away.")
    panel = fresh.client.get("/dashboard/panels/archive").text
    assert "it holds &lt;another&gt; object" in panel
    assert "Move it away." in panel
    assert f'data-url="api/v1/outbox/{labels[0]}/retry"' in panel
    assert f"outbox/{labels[1]}/retry" not in panel  # that one only waits
    assert "outbox/retry" not in panel
    attention = fresh.client.get("/dashboard/panels/attention").text
    assert "A label was refused by the archive: it holds &lt;another&gt; object" in attention
    recent = fresh.client.get("/dashboard/panels/labels").text
    assert re.findall("<td>(waits|refused it|has it)</td>", recent) == ["waits", "refused it"]
    outbox.refused(labels[1], "no", "")
    panel = fresh.client.get("/dashboard/panels/archive").text
    assert 'data-url="api/v1/outbox/retry"' in panel
    assert "Try all 2 again" in panel
    assert "No label waits for the archive." in panel


def test_archive_that_is_away(fresh: Site) -> None:
    read = fresh.services.sync.read
    assert read > 0
    fresh.archive.available = False
    fresh.services.sync.run()
    assert fresh.services.sync.read == read
    assert "switched off" in fresh.client.get("/dashboard/panels/archive").text


def test_behind_a_token_and_a_name(tmp_path: Path) -> None:
    with opened(tmp_path / "w", token="s3cret") as site:
        client: TestClient = site.client
        assert client.get("/").status_code == 401
        assert client.get("/t/s3cret").url.path == "/t/s3cret/"
        page = client.get("/t/s3cret/u/ana/").text
        assert "you are <strong>ana</strong>" in page
        assert "http://127.0.0.1/t/s3cret</code>" in page
        assert client.get("/t/s3cret/u/ana/dashboard/static/main.js").status_code == 200
        assert client.get("/dashboard/static/main.js").status_code == 401


def test_own_files_are_kept_by_browsers_until_they_change(site: Site) -> None:
    answer = site.client.get("/dashboard/static/main.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    again = site.client.get("/dashboard/static/main.js", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "../routes.py", "%2e%2e/routes.py", "vendor/README.md", "vendor", ""])
def test_what_is_no_file_of_the_page(site: Site, name: str) -> None:
    assert site.client.get(f"/dashboard/static/{name}").status_code == 404


def test_files_of_others_are_those_that_were_written_down() -> None:
    vendor = FOLDER / "static" / "vendor"
    noted = dict(re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", (vendor / "README.md").read_text(), re.M))
    there = {file.name: sha256(file.read_bytes()).hexdigest() for file in vendor.iterdir() if file.name != "README.md"}
    assert noted == there
