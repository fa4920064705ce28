"""The rights table: every route for every role, as `docs/routes.md` says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.core.people import ROLES, Role
from app.web.rights import LEAST, Rights, least_role
from scripts import reference
from tests.live import FAKE, application

_ROW = re.compile(r"^\| `(/[^`]*)` \| ([A-Z, ]+) \| (\w+) \|", re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, dict[Role, str]]]:
    app = application(tmp_path_factory.mktemp("rights") / "w", FAKE, accounts=True)
    accounts = app.state.services.accounts
    for role in ROLES:
        accounts.add(role[:3], role, "some password 123", "test")
    tokens = {role: accounts.issue(role[:3], "token", "test", None) for role in ROLES}
    with TestClient(app, base_url="http://lab.example", raise_server_exceptions=False) as client:
        yield client, tokens


def rows() -> list[tuple[str, str, str]]:
    """`(method, path, role)` of every route in the documentation."""
    page = (reference.DOCS / "routes.md").read_text()
    return [
        (method, path, role)
        for path, methods, role in _ROW.findall(page)
        for method in methods.replace(" ", "").split(",")
    ]


def test_every_right_is_for_a_route_that_is_there() -> None:
    documented = {f"{method} {path}".rstrip("/") for method, path, _ in rows()}
    assert {key.rstrip("/") for key in LEAST} <= documented
    assert len(documented) > 150


def test_the_documented_role_is_enough_and_less_is_not() -> None:
    """What the middleware lets through, for each route and role, with and without a slash at the end."""
    guard = Rights(lambda scope, receive, send: None)  # type: ignore[arg-type, return-value]
    for method, path, role in rows():
        real = re.sub(r"\{[^}]*\}", "x-1", path)
        for asked in {real, real.rstrip("/") or "/", real.rstrip("/") + "/"}:
            assert guard._least(method, asked) == role, (method, asked)
        assert least_role(method, path) == role


# Nothing happens in these: there is no such case, label, job, model.
PROBED = sorted(key for key in LEAST if not key.startswith(("POST /reload", "GET /logs/gpu")))


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_isn_t_enough_is_refused_by_the_server(
    site: tuple[TestClient, dict[Role, str]], role: Role
) -> None:
    client, tokens = site
    for key in PROBED:
        method, path = key.split(" ")
        real = re.sub(r"\{[^}]*\}", "1", path)
        enough = ROLES.index(role) >= ROLES.index(LEAST[key])
        for address, headers in (
            (real, {"Authorization": f"Bearer {tokens[role]}"}),
            (f"/t/{tokens[role]}/u/root{real}", {}),
            (f"/{real}".replace("//", "/"), {"Authorization": f"Bearer {tokens[role]}"}),
        ):
            answer = client.request(method, address, headers=headers)
            assert (answer.status_code == 403) is not enough, (key, role, answer.status_code)
            if not enough:
                assert LEAST[key] in answer.json()["detail"]


def test_the_table_is_in_the_documentation() -> None:
    assert "administrator" in Path(reference.DOCS / "routes.md").read_text()
