"""The gate: every carrier of a token, nothing without one, and no way round."""

from __future__ import annotations

import base64

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from app.web.gate import Gate

TOKEN = "s3cret-token"


def client(token: str, origins: frozenset[str] = frozenset(), base_url: str = "http://127.0.0.1") -> TestClient:
    app = FastAPI()

    @app.get("/livez")
    def livez() -> str:
        return "alive"

    @app.api_route("/info/", methods=["GET", "POST"])
    def info(request: Request) -> str:
        return str(request.base_url)

    @app.get("/auth/")
    def auth() -> str:
        return "the dialect's answer"

    app.add_middleware(Gate, token=token, origins=origins)
    return TestClient(app, base_url=base_url)


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/info/", {"Authorization": f"Bearer {TOKEN}"}),
        ("/info/", {"Authorization": f"bearer {TOKEN}"}),
        ("/info/", basic(TOKEN)),
        (f"/t/{TOKEN}/info/", {}),
    ],
)
def test_right_token_comes_in_by_every_carrier(path: str, headers: dict[str, str]) -> None:
    assert client(TOKEN).get(path, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/info/", {}),
        ("/info/", {"Authorization": "Bearer wrong"}),
        ("/info/", {"Authorization": f"Bearer {TOKEN}x"}),
        ("/info/", {"Authorization": "Bearer"}),
        ("/info/", {"Authorization": f"Token {TOKEN}"}),
        ("/info/", basic("wrong")),
        ("/info/", {"Authorization": "Basic !!!"}),
        ("/info/", {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()}),
        ("/t/wrong/info/", {}),
        ("/t//info/", {}),
        (f"/t/{TOKEN}x/info/", {}),
        (f"/info/?token={TOKEN}", {}),
        ("/nowhere", {}),
        ("/docs", {}),
        ("/openapi.json", {}),
        ("/livez/", {"Host": "evil/livez?"}),
        ("/", {"Host": "x/livez"}),
    ],
)
def test_anything_else_stays_outside(path: str, headers: dict[str, str]) -> None:
    answer = client(TOKEN).get(path, headers=headers)
    if path == "/livez/":
        assert answer.status_code in (200, 404)  # the open path itself, with or without its slash
        return
    assert answer.status_code == 401
    assert "token" in answer.json()["detail"]


def test_path_prefix_is_in_the_addresses_the_server_makes() -> None:
    assert client(TOKEN).get(f"/t/{TOKEN}/info/").json() == f"http://127.0.0.1/t/{TOKEN}/"


def test_liveness_needs_no_token() -> None:
    assert client(TOKEN).get("/livez").status_code == 200


def test_monai_label_login_gives_a_token_that_works() -> None:
    """docs/protocols/monailabel.md, section 10: ask, log in with the token as password, and use what comes back."""
    visitor = client(TOKEN)
    assert visitor.get("/auth/").json()["enabled"] is True
    wrong = visitor.post("/auth/token", data={"username": "anna", "password": "no", "grant_type": "password"})
    assert wrong.status_code == 401
    answer = visitor.post("/auth/token", data={"username": "anna", "password": TOKEN, "grant_type": "password"}).json()
    bearer = {"Authorization": f"{answer['token_type']} {answer['access_token']}"}
    assert visitor.get("/info/", headers=bearer).status_code == 200
    assert visitor.get("/auth/", headers=bearer).json()["enabled"] is True
    assert set(visitor.get("/auth/token/valid", headers=bearer).json()) >= {"username", "email", "name", "roles"}
    assert visitor.get("/auth/token/valid", headers={"Authorization": "Bearer no"}).status_code == 401


def test_who_came_in_by_path_is_not_sent_to_log_in() -> None:
    assert client(TOKEN).get(f"/t/{TOKEN}/auth/").json() == "the dialect's answer"


def test_without_token_only_loopback_names_are_answered() -> None:
    assert client("").get("/info/").status_code == 200
    assert client("", base_url="http://localhost:8000").get("/info/").status_code == 200
    assert client("", base_url="http://[::1]:8000").get("/info/").status_code == 200
    rebound = client("", base_url="http://attacker.example:8000").get("/info/")
    assert rebound.status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "https://viewer.example", "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_without_token_pages_of_other_sites_are_refused(headers: dict[str, str], status: int) -> None:
    visitor = client("", origins=frozenset({"https://viewer.example"}))
    assert visitor.post("/info/", headers=headers).status_code == status
