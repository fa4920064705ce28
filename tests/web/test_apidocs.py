"""`/docs` and `/redoc`: from this server alone, the same for everybody, and every page says what it may load."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.live import FAKE, application

TOKEN = "d0c5-t0ken-of-16"
AUTH = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = application(tmp_path_factory.mktemp("docs") / "w", FAKE, token=TOKEN)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_is_served_from_here_alone_and_reflects_nothing(visitor: TestClient, path: str) -> None:
    page = visitor.get(path, headers=AUTH)
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "http" not in policy
    assert "://" not in page.text
    for linked in re.findall(r'(?:src|href|spec-url)="([^"]+)"', page.text):
        assert visitor.get(f"/{linked}", headers=AUTH).status_code == 200, linked
    for name in ("x'-alert(9)-'", "%3Cscript%3E", "ana"):
        assert visitor.get(f"/u/{name}{path}", headers=AUTH).text == page.text
    assert visitor.get(path).status_code == 401


def test_prefixes_of_others_are_not_in_the_schema(visitor: TestClient) -> None:
    for path in (f"/t/{TOKEN}/openapi.json", "/u/x'-alert(9)-'/openapi.json", "/openapi.json"):
        answer = visitor.get(path, headers=AUTH)
        assert answer.status_code == 200
        assert TOKEN not in answer.text
        assert "alert(9)" not in answer.text


@pytest.mark.parametrize("path", ["/", "/ohif/", "/logs/", "/docs", "/redoc", "/dashboard/panels/queue"])
def test_every_page_has_a_policy_and_no_token(visitor: TestClient, path: str) -> None:
    page = visitor.get(path, headers=AUTH)
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src" in policy
    assert "'unsafe-eval'" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] in ("no-referrer", "same-origin")
    assert TOKEN not in page.text
