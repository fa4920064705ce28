"""The viewer, opened by an address with a token and a name, also behind proxies: the token goes into a cookie, the name
stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from tests.browser.page import visiting
from tests.browser.site import over_folder
from tests.browser.watching import watched
from tests.proxies import PREFIX, in_front

pytestmark = pytest.mark.browser


def test_every_request_keeps_the_name_and_no_page_the_token(
    chromium: Browser, tmp_path: Path, viewer_dir: Path
) -> None:
    with over_folder(tmp_path, viewer_dir, token="s3cret") as site, visiting(chromium, site, "way_in") as visit:
        prefix = urlsplit(site.url).path
        assert prefix == "/t/s3cret/u/Ada%20L"
        visit.open("straight")
        visit.go_to_slice("straight", 23)
        visit.panel("point").click()
        visit.click("straight", (23, 32, 16))
        visit.panel("submit").click()
        visit.until("Stored as version 1")
        assert visit.site.labels("straight")[0]["author"] == "Ada L"
        visit.panel("next").click()
        visit.page.wait_for_url(lambda url: site.cases["straight"] not in url)
        visit.opened()
        paths = [urlsplit(url).path for url in visit.watched.asked if "blob:" not in url]
        assert [path for path in paths if not path.startswith(("/u/Ada%20L/", f"{prefix}/"))] == []
        # The address that was typed; the page's own requests are without the token, and so is what the page keeps.
        assert {path for path in paths if "s3cret" in path} == {f"{prefix}/ohif/segloop"}
        assert "s3cret" not in visit.page.url
        assert "s3cret" not in visit.page.evaluate("document.referrer + document.cookie + JSON.stringify(localStorage)")


@pytest.mark.parametrize("program", ["nginx", pytest.param("caddy", marks=pytest.mark.long)])
def test_a_case_is_labelled_below_the_path_of_a_proxy(
    program: str, chromium: Browser, tmp_path: Path, viewer_dir: Path
) -> None:
    with over_folder(tmp_path, viewer_dir, token="s3cret", root_path=PREFIX) as direct:
        parts = urlsplit(direct.url)
        with in_front(program, tmp_path / program, parts.port or 0, PREFIX) as proxy:
            site = replace(direct, url=proxy.url + parts.path)
            with visiting(chromium, site, f"behind_{program}", ignore_https_errors=True) as visit:
                visit.open("straight")
                visit.go_to_slice("straight", 23)
                visit.panel("point").click()
                visit.click("straight", (23, 32, 16))
                visit.panel("submit").click()
                visit.until("Stored as version 1")
                prefixes = (f"{PREFIX}/u/Ada%20L/", f"{PREFIX}{parts.path}/ohif/segloop")
                asked = [url for url in visit.watched.asked if not url.startswith("blob:")]
                assert [url for url in asked if not urlsplit(url).path.startswith(prefixes)] == []
            assert direct.labels("straight")[0]["author"] == "Ada L"
            with watched(chromium, f"{proxy.url}/t/s3cret/", ignore_https_errors=True) as page:
                page.page.locator("#connection[data-state=live]").wait_for()
                page.screenshot(f"dashboard_behind_{program}")
                assert page.wrong == []
