"""Accounts in the catalog: what ends with one, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.catalog import Catalog
from app.errors import Conflict, NotFound
from tests.catalog.test_claims import claim, with_cases


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return with_cases(tmp_path)


def test_who_is_removed_holds_no_case_and_no_credential(catalog: Catalog) -> None:
    for name in ("anna", "bo"):
        catalog.accounts.add(name, "annotator", "hash", "test")
        catalog.accounts.issue(name, "token", "viewer", f"digest of {name}", None)
    assert [claim(catalog, name).case_id for name in ("anna", "bo")] == ["c000", "c001"]
    catalog.accounts.remove("anna", "test")
    assert [held.holder for held in catalog.claims.held(0.0)] == ["bo"]
    known = catalog.accounts.known()
    assert list(known.accounts) == ["bo"]
    assert [one.account for one in known.credentials.values()] == ["bo"]
    assert claim(catalog, "cy").case_id == "c000"
    with pytest.raises(NotFound):
        catalog.accounts.issue("anna", "session", "", "another digest", None)
    assert catalog.audit.first_broken_row() is None


def test_another_password_ends_sessions_and_leaves_tokens(catalog: Catalog) -> None:
    catalog.accounts.add("anna", "annotator", "hash", "test")
    catalog.accounts.issue("anna", "session", "browser", "of the session", None)
    catalog.accounts.issue("anna", "token", "viewer", "of the token", None)
    catalog.accounts.change("anna", "test", role="reviewer")
    assert len(catalog.accounts.known().credentials) == 2
    catalog.accounts.change("anna", "test", password="other hash")
    known = catalog.accounts.known()
    assert [one.kind for one in known.credentials.values()] == ["token"]
    assert (known.accounts["anna"].role, known.passwords["anna"]) == ("reviewer", "other hash")


def test_the_first_account_is_made_once(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "catalog.sqlite")
    catalog.accounts.add("anna", "administrator", "hash", "test", only_first=True)
    with pytest.raises(Conflict):
        catalog.accounts.add("bo", "administrator", "hash", "test", only_first=True)
    catalog.close()
