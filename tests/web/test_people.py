"""People with accounts: every carrier is a person, whose name becomes the author, and who ends at once."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.services import Services
from tests.live import FAKE, application

PASSWORDS = {"Ann Lee": "correct horse 7", "rev": "battery staple 8", "root": "tr0ub4dor and three"}
ROLES = {"Ann Lee": "annotator", "rev": "reviewer", "root": "administrator"}
SHARED = "5ha7ed-t0ken-0f-16"


@dataclass(frozen=True)
class Site:
    client: TestClient
    services: Services

    @property
    def stranger(self) -> TestClient:
        """A visitor without cookies."""
        return TestClient(self.client.app, base_url="http://lab.example")

    def who(self, headers: dict[str, str] | None = None, prefix: str = "") -> tuple[int, str]:
        """The status of a request that claims a case under a false name, and who was given it."""
        answer = self.stranger.get(f"{prefix}/", headers=headers)
        name = re.search(r"you are <strong>([^<]*)</strong>", answer.text)
        return answer.status_code, name[1] if name else ""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    app = application(tmp_path_factory.mktemp("people") / "w", FAKE, token=SHARED, accounts=True)
    services: Services = app.state.services
    for name, password in PASSWORDS.items():
        services.accounts.add(name, ROLES[name], password, "test")  # type: ignore[arg-type]
    with TestClient(app, base_url="http://lab.example") as client:
        yield Site(client, services)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def signed_in(site: Site, name: str) -> TestClient:
    visitor = site.stranger
    answer = visitor.post(
        "/sign-in", data={"name": name, "password": PASSWORDS[name], "next": "/docs"}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs")
    return visitor


def test_every_carrier_is_the_person(site: Site) -> None:
    token = site.services.accounts.issue("Ann Lee", "token", "viewer", 1000)
    assert site.who(basic("Ann Lee", PASSWORDS["Ann Lee"])) == (200, "Ann Lee")
    assert site.who(basic("Ann Lee", PASSWORDS["Ann Lee"])) == (200, "Ann Lee")  # now from memory
    assert site.who(basic("anybody", token)) == (200, "Ann Lee")
    assert site.who(bearer(token)) == (200, "Ann Lee")
    assert site.who(prefix=f"/t/{token}") == (200, "Ann Lee")
    assert site.who(bearer(token), prefix="/u/rev") == (200, "Ann Lee")
    login = site.stranger.post("/auth/token", data={"username": "rev", "password": PASSWORDS["rev"]}).json()
    assert login["access_token"] not in (SHARED, PASSWORDS["rev"])
    assert site.who(bearer(login["access_token"])) == (200, "rev")
    told = site.stranger.get("/auth/token/valid", headers=bearer(login["access_token"])).json()
    assert (told["username"], told["roles"]) == ("rev", ["reviewer"])
    page = signed_in(site, "Ann Lee").get("/").text
    assert "you are <strong>Ann Lee</strong>" in page
    assert 'href="account"' in page


def test_nobody_is_somebody_else(site: Site) -> None:
    assert site.who(basic("rev", PASSWORDS["Ann Lee"])) == (401, "")
    assert site.who(basic("nobody", PASSWORDS["Ann Lee"])) == (401, "")
    assert site.who(basic("", PASSWORDS["Ann Lee"])) == (401, "")
    assert site.who(bearer(PASSWORDS["Ann Lee"])) == (401, "")
    assert site.who(bearer("segloop_" + "x" * 32)) == (401, "")
    assert site.who(basic("rev", SHARED)) == (200, "rev (shared token)")
    assert site.who(bearer(SHARED), prefix="/u/rev") == (200, "rev (shared token)")


def test_secrets_are_not_in_the_catalog(site: Site) -> None:
    token = site.services.accounts.issue("Ann Lee", "token", "viewer", None)
    content = b"".join(path.read_bytes() for path in site.services.project.paths.root.glob("catalog.sqlite*"))
    assert b"$argon2id$" in content
    for secret in (token, *PASSWORDS.values()):
        assert secret.encode() not in content


def test_only_pages_are_sent_to_sign_in(site: Site) -> None:
    page = site.stranger.get("/u/x/ohif/viewer", headers={"Accept": "text/html,*/*;q=0.8"}, follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/sign-in?next=/u/x/ohif/viewer")
    for path in ("/api/v1/server", "/info/", "/dicom-web/studies", "/ohif/app.js", "/claim"):
        answer = site.stranger.get(path, headers={"Accept": "application/json"}, follow_redirects=False)
        assert answer.status_code == 401
        assert answer.json()["detail"]
    assert site.stranger.post("/claim", headers={"Accept": "text/html"}).status_code == 401


@pytest.mark.parametrize(
    "place", ["//evil.example", "https://evil.example/x", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_goes_on_here_only(site: Site, place: str) -> None:
    form = {"name": "rev", "password": PASSWORDS["rev"], "next": place}
    answer = site.stranger.post("/sign-in", data=form, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_the_sign_in_page_says_what_is_wrong_and_is_for_own_pages_only(site: Site) -> None:
    wrong = site.stranger.post("/sign-in", data={"name": '"><script>', "password": "no"})
    assert wrong.status_code == 401
    assert "not right" in wrong.text
    assert "<script>" not in wrong.text
    assert "default-src 'none'" in wrong.headers["content-security-policy"]
    assert "set-cookie" not in wrong.headers
    form = {"name": "rev", "password": PASSWORDS["rev"]}
    foreign = site.stranger.post("/sign-in", data=form, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    encrypted = TestClient(site.client.app, base_url="https://lab.example")
    cookie = encrypted.post("/sign-in", data=form, follow_redirects=False).headers["set-cookie"]
    assert {"HttpOnly", "Secure", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}


def test_signing_out_ends_the_session(site: Site) -> None:
    visitor = signed_in(site, "rev")
    kept = visitor.cookies["segloop"]
    assert visitor.post("/sign-out", follow_redirects=False).status_code == 303
    assert site.who({"Cookie": f"segloop={kept}"}) == (401, "")


def test_people_make_and_revoke_their_own_tokens(site: Site) -> None:
    visitor, other = signed_in(site, "rev"), signed_in(site, "Ann Lee")
    page = visitor.post("/account", data={"label": "<b>Slicer", "days": "30"}).text
    token = re.search(r"segloop_[\w-]+", page)
    assert token is not None
    assert "&lt;b&gt;Slicer" in page
    assert site.who(bearer(token[0])) == (200, "rev")
    assert token[0] not in visitor.get("/account").text
    number = re.search(r'name="revoke" value="(\d+)"', page)
    assert number is not None
    assert "no token" in other.post("/account", data={"revoke": number[1]}).text
    assert site.who(bearer(token[0])) == (200, "rev")
    visitor.post("/account", data={"revoke": number[1]})
    assert site.who(bearer(token[0])) == (401, "")
    assert visitor.post("/account", data={"label": "x", "days": "0"}).status_code == 400
    assert site.stranger.get("/account", headers=bearer(SHARED)).status_code == 403


def test_tokens_expire(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    token = site.services.accounts.issue("rev", "token", "short", 100)
    assert site.who(bearer(token)) == (200, "rev")
    later = time.time() + 101
    monkeypatch.setattr("app.services.accounts.time.time", lambda: later)
    assert site.who(bearer(token)) == (401, "")


def test_who_is_removed_is_out_at_once_and_labels_keep_the_name(site: Site) -> None:
    accounts = site.services.accounts
    accounts.add("Leaver", "annotator", "goes away 12345", "test")
    token = accounts.issue("Leaver", "token", "viewer", None)
    PASSWORDS["Leaver"] = "goes away 12345"
    visitor = signed_in(site, "Leaver")
    del PASSWORDS["Leaver"]
    stays = site.services.accounts.issue("rev", "token", "viewer", None)
    lease = site.stranger.post("/claim", headers=bearer(token)).json()["lease_token"]
    assert site.stranger.post("/heartbeat", headers={**bearer(token), "X-Lease-Token": lease}).status_code == 200
    accounts.remove("Leaver", "test")
    assert site.who(bearer(token)) == (401, "")
    assert site.who(basic("Leaver", "goes away 12345")) == (401, "")
    assert visitor.get("/").status_code == 401
    assert site.stranger.post("/heartbeat", headers={**bearer(token), "X-Lease-Token": lease}).status_code == 401
    assert accounts.is_gone("Leaver")
    assert site.who(bearer(stays)) == (200, "rev")


def test_another_process_s_changes_count_at_once(site: Site) -> None:
    from app.catalog import Catalog
    from app.services.accounts import AccountService

    paths = site.services.project.paths
    catalog = Catalog.open(paths.catalog)
    other = AccountService(catalog, paths)
    other.add("Guest", "annotator", "from elsewhere 1", "test")
    token = other.issue("Guest", "token", "x", None)
    assert site.who(bearer(token)) == (200, "Guest")
    other.reset("Guest", "test", role="reviewer")
    assert site.stranger.delete("/train/", headers=bearer(token)).status_code == 200
    other.remove("Guest", "test")
    assert site.who(bearer(token)) == (401, "")
    catalog.close()


def test_the_first_administrator_needs_the_code(tmp_path: Path) -> None:
    app = application(tmp_path / "w", FAKE, accounts=True)
    services: Services = app.state.services
    code = services.accounts.first_code
    visitor = TestClient(app, base_url="http://lab.example")
    try:
        assert visitor.get("/api/v1/server").status_code == 401
        form = {"name": "boss", "password": "a long password 1"}
        assert visitor.post("/sign-in", data=form).status_code == 401
        assert visitor.post("/sign-in", data={**form, "code": "guess"}).status_code == 401
        assert visitor.post("/sign-in", data={**form, "code": code, "password": "short"}).status_code == 400
        assert services.accounts.accounts() == []
        made = visitor.post("/sign-in", data={**form, "code": code}, follow_redirects=False)
        assert made.status_code == 303
        assert [(one.name, one.role) for one in services.accounts.accounts()] == [("boss", "administrator")]
        assert services.accounts.first_code == ""
        again = {"name": "second", "password": "a long password 1", "code": code}
        assert TestClient(app, base_url="http://lab.example").post("/sign-in", data=again).status_code == 401
        assert visitor.get("/account").status_code == 200
    finally:
        services.stop()
