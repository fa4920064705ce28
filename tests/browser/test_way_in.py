"""The viewer behind a token and a name in its address: every request keeps them, and nothing works without."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from tests.browser.page import visiting
from tests.browser.site import over_folder

pytestmark = pytest.mark.browser


def test_every_request_keeps_the_token_and_the_name(chromium: Browser, tmp_path: Path, viewer_dir: Path) -> None:
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
        outside = [
            url for url in visit.watched.asked if not urlsplit(url).path.startswith(f"{prefix}/") and "blob:" not in url
        ]
        assert outside == []
