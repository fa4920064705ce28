"""Requests of other sites' pages with what a browser adds by itself, names of the server, and addresses with tokens."""

from __future__ import annotations

import base64

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from app.web.gate import Gate
from app.web.throttle import Throttle
from tests.web.test_gate import TOKEN

BASIC = {"Authorization": "Basic " + base64.b64encode(f"ana:{TOKEN}".encode()).decode()}
HERE = "http://lab.example:8000"


def client(
    base_url: str = HERE, origins: tuple[str, ...] = (), hosts: tuple[str, ...] = (), throttle: Throttle | None = None
) -> TestClient:
    app = FastAPI(redirect_slashes=False)

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    def anything(request: Request, path: str) -> dict[str, str]:
        return {"path": path, "root": request.scope["root_path"], "user": getattr(request.state, "user", "")}

    app.add_middleware(Gate, token=TOKEN, origins=frozenset(origins), hosts=frozenset(hosts), throttle=throttle)
    return TestClient(app, base_url=base_url)


def signed_in(visitor: TestClient) -> TestClient:
    assert visitor.get(f"/t/{TOKEN}/", headers={"Accept": "text/html"}).status_code == 200
    assert visitor.cookies
    return visitor


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://lab.example:9000"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://other.lab.example"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
]
OWN: list[dict[str, str]] = [
    {},
    {"Origin": HERE},
    {"Origin": "https://lab.example:8000"},
    {"Origin": HERE, "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "https://viewer.example", "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_pages_of_other_sites_can_t_use_what_a_browser_adds(headers: dict[str, str]) -> None:
    assert client().post("/api/v1/outbox/retry", headers={**BASIC, **headers}).status_code == 403
    assert signed_in(client()).post("/api/v1/outbox/retry", headers=headers).status_code == 403


@pytest.mark.parametrize("headers", OWN)
def test_own_pages_and_programs_can(headers: dict[str, str]) -> None:
    origins = ("https://viewer.example",)
    assert client(origins=origins).post("/x", headers={**BASIC, **headers}).status_code == 200
    assert signed_in(client(origins=origins)).post("/x", headers=headers).status_code == 200


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_token_that_a_page_has_to_know_is_enough(headers: dict[str, str]) -> None:
    assert client().post("/x", headers={"Authorization": f"Bearer {TOKEN}", **headers}).status_code == 200
    assert client().post(f"/t/{TOKEN}/x", headers=headers).status_code == 200


def test_a_link_on_another_site_opens_the_page_but_not_in_a_frame() -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert signed_in(client()).get("/ohif/", headers=link).status_code == 200
    assert signed_in(client()).get("/ohif/", headers={**link, "Sec-Fetch-Dest": "iframe"}).status_code == 403


def test_a_page_is_opened_at_an_address_without_the_token() -> None:
    visitor = client()
    answer = visitor.get(
        f"/t/{TOKEN}/u/Dr.%20B/ohif/viewer?x=1%202", headers={"Accept": "text/html,*/*"}, follow_redirects=False
    )
    assert answer.status_code == 303
    assert answer.headers["location"] == "/u/Dr.%20B/ohif/viewer?x=1%202"
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    again = visitor.get("/ohif/viewer", headers={"Accept": "text/html"})
    assert (again.status_code, again.json()["root"]) == (200, "")
    encrypted = client("https://lab.example").get(
        f"/t/{TOKEN}/", headers={"Accept": "text/html"}, follow_redirects=False
    )
    assert "Secure" in encrypted.headers["set-cookie"]
    away = visitor.get(f"/t/{TOKEN}//evil.example/", headers={"Accept": "text/html"}, follow_redirects=False)
    assert away.headers["location"] == "/evil.example/"


def test_programs_keep_the_token_in_the_address() -> None:
    answer = client().get(f"/t/{TOKEN}/datastore/image", follow_redirects=False)
    assert (answer.status_code, answer.json()["root"]) == (200, f"/t/{TOKEN}")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("value", ["", "x", "9999999999.00", "9999999999", "1.{signature}", f"{TOKEN}", "\u00e9"])
def test_made_up_cookies_are_none(value: str) -> None:
    visitor = client()
    headers = {b"cookie": b"segloop_8000=" + value.encode()}
    assert visitor.get("/x", headers=headers).status_code == 401  # type: ignore[arg-type]


def test_a_cookie_ends_with_its_token_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = signed_in(client())
    kept = visitor.cookies["segloop_8000"]
    expires, _, signature = kept.partition(".")
    later = {"Cookie": f"segloop_8000={int(expires) + 1}.{signature}"}
    assert client().get("/x", headers={"Cookie": f"segloop_8000={kept}"}).status_code == 200
    assert client().get("/x", headers=later).status_code == 401
    monkeypatch.setattr("app.web.doors.time.time", lambda: int(expires) + 1.0)
    assert client().get("/x", headers={"Cookie": f"segloop_8000={kept}"}).status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("http://lab.example:8000", 200),
        ("http://127.0.0.1:8000", 200),
        ("http://a.pods.example", 200),
        ("http://pods.example", 403),
        ("http://evil.example", 403),
        ("http://xlab.example", 403),
    ],
)
def test_only_listed_names_are_answered(host: str, status: int) -> None:
    visitor = client(host, hosts=("lab.example", "*.pods.example"))
    assert visitor.get("/x", headers=BASIC).status_code == status
    assert visitor.get("/livez").status_code == 200
    assert client(host).get("/x", headers=BASIC).status_code == 200  # none are listed


def test_guessing_is_slowed_down_and_keeps_nobody_else_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("app.web.gate.SLOW_SECONDS", 0.0)
    visitor = client(throttle=Throttle(lambda: now[0]))
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert visitor.get("/x", headers=right).status_code == 200
    statuses = []
    for number in range(300):
        now[0] += 0.02
        statuses.append(visitor.get("/x", headers={"Authorization": f"Bearer guess-{number}"}).status_code)
    assert statuses.count(401) <= 20 + 10 * 6  # ten a second, and those at first
    assert statuses.count(401) + statuses.count(429) == 300
    assert visitor.get("/x", headers=right).status_code == 200
    assert visitor.get(f"/t/{TOKEN}/x").status_code == 200
    now[0] += 60
    assert visitor.get("/x", headers={"Authorization": "Bearer another"}).status_code == 401
