"""The per-user prefix, alone and behind the token's."""

from __future__ import annotations

import base64

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from app.web.gate import Gate
from app.web.paths import UserPrefix


@pytest.fixture
def client() -> TestClient:
    app = FastAPI(redirect_slashes=False)

    @app.get("/who")
    def who(request: Request) -> dict[str, str]:
        return {"user": getattr(request.state, "user", ""), "base": str(request.base_url)}

    app.add_middleware(UserPrefix)
    app.add_middleware(Gate, token="s3cret", origins=frozenset())
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.mark.parametrize(
    ("path", "user"),
    [("/t/s3cret/who", ""), ("/t/s3cret/u/ana/who", "ana"), ("/t/s3cret/u/Dr.%20B%C3%B6hm/who", "Dr. Böhm")],
)
def test_the_prefix_names_the_user(client: TestClient, path: str, user: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.json()["user"] == user


def test_a_name_is_no_right(client: TestClient) -> None:
    assert client.get("/u/ana/who").status_code == 401


def test_basic_names_the_user_too(client: TestClient) -> None:
    credentials = base64.b64encode(b"bo:s3cret").decode()
    answer = client.get("/who", headers={"Authorization": f"Basic {credentials}"})
    assert answer.json()["user"] == "bo"
    wrong = base64.b64encode(b"bo:guess").decode()
    assert client.get("/who", headers={"Authorization": f"Basic {wrong}"}).status_code == 401


@pytest.mark.parametrize("path", ["/t/s3cret/u//who", "/t/s3cret/u/ana"])
def test_half_a_prefix_is_none(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
