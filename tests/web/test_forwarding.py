"""What proxies say of a request, and the path at which they serve it."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from app.http.identity import host_of
from app.settings import Settings
from app.web.forwarding import Forwarding
from app.web.gate import Gate

TOKEN = "s3cret"


def client(
    *, peer: str = "127.0.0.1", root_path: str = "", trusted: tuple[str, ...] = ("127.0.0.1", "::1"), token: str = ""
) -> TestClient:
    app = FastAPI()

    @app.get("/seen")
    def seen(request: Request) -> dict[str, str]:
        return {"client": host_of(request), "base": str(request.base_url), "raw": request.scope["raw_path"].decode()}

    if token:
        app.add_middleware(Gate, token=token, origins=frozenset())
    app.add_middleware(Forwarding, root_path=root_path, trusted=trusted)
    return TestClient(app, base_url="http://box:8000", client=(peer, 1234), follow_redirects=False)


def seen(one: TestClient, path: str = "/seen", **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = one.get(path, headers=named)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_trusted_proxy_names_its_client_and_scheme() -> None:
    found = seen(client(), x_forwarded_for="192.0.2.7", x_forwarded_proto="https")
    assert (found["client"], found["base"]) == ("192.0.2.7", "https://box:8000/")


def test_nobody_else_is_believed() -> None:
    found = seen(client(peer="192.0.2.9"), x_forwarded_for="192.0.2.7", x_forwarded_proto="https")
    assert (found["client"], found["base"]) == ("192.0.2.9", "http://box:8000/")
    assert seen(client(peer="testclient"), x_forwarded_for="192.0.2.7")["client"] == "testclient"


def test_another_host_is_never_believed() -> None:
    found = seen(client(), x_forwarded_for="192.0.2.7", x_forwarded_host="evil.example", x_forwarded_prefix="/evil")
    assert found["base"] == "http://box:8000/"


@pytest.mark.parametrize(
    ("chain", "found"),
    [
        ("6.6.6.6, 192.0.2.7, 10.1.2.3", "192.0.2.7"),  # what the client claimed stands first
        ("6.6.6.6,10.1.2.3,192.0.2.7", "192.0.2.7"),
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),  # somebody in the proxies' own network
        ("192.0.2.7:51234", "192.0.2.7"),
        ("[2001:db8::7]:51234", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("unknown, 10.1.2.3", "10.1.2.3"),
        ("<script>", "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_of_several_proxies_the_last_that_is_not_ours_is_the_client(chain: str, found: str) -> None:
    assert seen(client(peer="10.0.0.1", trusted=("10.0.0.0/8",)), x_forwarded_for=chain)["client"] == found


def test_everyone_can_be_a_proxy() -> None:
    assert seen(client(peer="192.0.2.9", trusted=("*",)), x_forwarded_for="6.6.6.6")["client"] == "6.6.6.6"


def test_a_socket_for_both_versions_of_ip_knows_its_proxies() -> None:
    assert seen(client(peer="::ffff:127.0.0.1"), x_forwarded_for="192.0.2.7")["client"] == "192.0.2.7"


def test_a_scheme_that_is_none_changes_nothing() -> None:
    assert seen(client(), x_forwarded_proto="javascript")["base"] == "http://box:8000/"
    assert seen(client(), x_forwarded_proto="http, https")["base"] == "https://box:8000/"


def test_addresses_begin_with_the_root_path_whether_the_proxy_removes_it_or_not() -> None:
    one = client(root_path="/segloop")
    kept = seen(one, "/segloop/seen", x_forwarded_proto="https")
    removed = seen(one, x_forwarded_proto="https")
    assert kept == removed
    assert removed == {"client": "127.0.0.1", "base": "https://box:8000/segloop/", "raw": "/segloop/seen"}


def test_who_comes_without_a_proxy_may_leave_the_root_path_out() -> None:
    one = client(root_path="/segloop", peer="192.0.2.9")
    assert seen(one)["base"] == "http://box:8000/"
    assert seen(one, "/segloop/seen")["base"] == "http://box:8000/segloop/"
    assert one.get("/segloopy/seen").status_code == 404


def test_the_root_path_itself_is_redirected_without_an_address() -> None:
    answer = client(root_path="/a/segloop").get("/a/segloop")
    assert (answer.status_code, answer.headers["location"]) == (307, "segloop/")


def test_the_gate_finds_the_token_below_the_root_path() -> None:
    one = client(root_path="/segloop", token=TOKEN)
    assert seen(one, f"/segloop/t/{TOKEN}/seen")["base"] == f"http://box:8000/segloop/t/{TOKEN}/"
    assert seen(one, f"/t/{TOKEN}/seen")["base"] == f"http://box:8000/t/{TOKEN}/"
    assert seen(one, f"/t/{TOKEN}/seen", x_forwarded_proto="https")["base"] == f"https://box:8000/segloop/t/{TOKEN}/"
    assert one.get(f"/segloop/t/{TOKEN}").headers["location"] == f"{TOKEN}/"
    for path in ("/segloop/seen", "/segloop/t/wrong/seen", f"/t/{TOKEN}x/seen", f"/segloop/segloop/t/{TOKEN}/seen"):
        assert one.get(path).status_code == 401, path


@pytest.mark.parametrize("path", ["segloop", "/seg loop", "/a//b", "/../etc", "/t/x", "/u", "//evil.example", "/a?b"])
def test_a_root_path_that_would_not_work_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"root_path|no path|followed by"):
        Settings(root_path=path)


def test_settings_of_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    assert Settings(root_path="/segloop/").root_path == "/segloop"
    assert Settings().trusted_proxies == ["127.0.0.1", "::1"]
    with pytest.raises(ValueError, match="trusted_proxies"):
        Settings(trusted_proxies=["proxy.example"])
    # Uvicorn's own variable, which this setting replaces.
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1, 10.0.0.2")
    assert Settings().trusted_proxies == ["10.0.0.1", "10.0.0.2"]
