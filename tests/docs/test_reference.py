"""The reference pages say what the code does. `make docs` writes them."""

from __future__ import annotations

import re

import pytest

from scripts import reference

_ROW = re.compile(r"^\| (`.*?`) \|.* \| ([^|]*) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def routes() -> str:
    return reference.routes_page()


def test_the_settings_page_is_that_of_the_code() -> None:
    assert (reference.DOCS / "settings.md").read_text() == reference.settings_page(), "run `make docs`"


def test_every_setting_says_what_it_means() -> None:
    rows = _ROW.findall(reference.settings_page())
    assert ("`archive.page_size`", "series per QIDO-RS page") in rows
    assert [key for key, meaning in rows if not meaning.strip()] == []


def test_the_routes_page_is_that_of_the_application(routes: str) -> None:
    assert (reference.DOCS / "routes.md").read_text() == routes, "run `make docs`"


def test_every_route_says_what_it_does(routes: str) -> None:
    rows = _ROW.findall(routes)
    assert ("`/infer/{model}`", "Segment an image, or continue segmenting it.") in rows
    assert [path for path, summary in rows if not summary.strip()] == []
