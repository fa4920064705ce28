"""The page at `/` tells each viewer what to type, as the start's message does."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.archives.memory import MemoryArchive
from app.main import create_app
from app.services.addresses import Place, connections
from app.settings import Settings

TOKEN = "s3cret"


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(workspace=tmp_path, models={"m": {"type": "fake"}}, also_ports=[8911])  # type: ignore[dict-item]
    app = create_app(settings, MemoryArchive(), TOKEN)
    with TestClient(app, base_url="http://box:8000") as client:
        yield client


def test_who_came_by_the_address_with_the_token_sees_it(visitor: TestClient) -> None:
    page = visitor.get(f"/t/{TOKEN}/").text
    for way in connections(Place("http://box:8000", TOKEN, (8911,))):
        assert escape(way.viewer) in page
        for name, typed in way.fields:
            assert name in page
            assert typed in unescape(page)
    assert f"user:{TOKEN}@box" in page


def test_who_came_with_a_header_sees_where_the_token_goes(visitor: TestClient) -> None:
    login = base64.b64encode(f"anna:{TOKEN}".encode()).decode()
    page = visitor.get("/", headers={"Authorization": f"Basic {login}"}).text
    assert TOKEN not in page
    assert "http://box:8000/t/TOKEN" in page


def test_what_the_host_header_says_is_shown_as_text(visitor: TestClient) -> None:
    page = visitor.get(f"/t/{TOKEN}/", headers={"Host": "<script>alert(1)</script>"}).text
    assert "<script>" not in page
