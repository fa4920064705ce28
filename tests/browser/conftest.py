"""A real Chromium and a real OHIF. Both are got once; where that isn't possible the tests skip and say why."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, sync_playwright

from app.errors import SegloopError
from app.web.viewer.install import fetch, install, installed
from tests.browser import dashboard_site as dashboards
from tests.browser.page import Visit, visiting
from tests.browser.site import Site, over_folder
from tests.browser.watching import Watched, watched
from tests.exclusive import exclusive

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


# Not for the session: while a Playwright is open, this thread has a running event loop, which other tests don't expect.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with sync_playwright() as playwright:
        # In a container there is no sandbox to be had.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def viewer_dir(request: pytest.FixtureRequest) -> Path:
    """OHIF, installed as `segloop viewer install` does it, and kept between runs."""
    folder = Path(request.config.cache.mkdir("ohif"))
    with exclusive(folder):
        if installed(folder) is None:
            try:
                install(fetch(folder), folder)
            except SegloopError as error:
                pytest.skip(str(error))
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, viewer_dir: Path) -> Iterator[Site]:
    """A folder of the series that `tests.browser.site` names."""
    with over_folder(tmp_path_factory.mktemp("site"), viewer_dir) as site:
        yield site


@pytest.fixture
def visit(chromium: Browser, site: Site, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """OHIF on the site, watched: at the end there must be no error in its console, and nothing asked of any other
    server."""
    with visiting(chromium, site, request.node.name) as visit:
        yield visit


@pytest.fixture(scope="module")
def dashboard_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dashboards.Site]:
    """A server in the middle of a project, with a token."""
    with dashboards.serving(tmp_path_factory.mktemp("dashboard") / "workspace", token="s3cret") as one:
        yield one


@pytest.fixture
def dashboard(chromium: Browser, dashboard_site: dashboards.Site) -> Iterator[Watched]:
    """The page at `/`, once it hears of what happens."""
    with watched(chromium, dashboard_site.url) as page:
        page.page.locator("#connection[data-state=live]").wait_for()
        yield page
    assert page.wrong == []
