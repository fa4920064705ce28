"""`segloop users`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.catalog import Catalog
from app.cli import cli
from app.errors import BadInput, ConfigurationError, Conflict, NotFound
from app.services.accounts import AccountService
from app.workspace import Workspace


def run(workspace: Path, *arguments: str, given: str = "") -> str:
    done = CliRunner().invoke(cli, ["users", *arguments, "--workspace", str(workspace)], input=given)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_accounts_from_the_first_to_the_last_day(tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    run(workspace, "add", "Ana", given="a good password 1\n")
    made = run(workspace, "add", "bo", "--role", "reviewer", "--generate")
    token = run(workspace, "token", "Ana", "--label", "Slicer").strip()
    run(workspace, "reset", "Ana", given="another password 2\n")
    run(workspace, "reset", "bo", "--role", "administrator")
    listed = run(workspace, "list")
    assert "Ana  annotator" in listed
    assert "bo  administrator" in listed
    assert "Slicer" in listed
    assert token not in listed
    paths = Workspace.prepared(workspace)
    catalog = Catalog.open(paths.catalog)
    accounts = AccountService(catalog, paths)
    assert accounts.by_password("Ana", "a good password 1") is None
    assert accounts.by_password("Ana", "another password 2") is not None
    assert accounts.by_password("bo", made.partition("password: ")[2].strip()) is not None
    found = accounts.by_secret(token)
    assert found is not None
    assert found.name == "Ana"
    run(workspace, "revoke", str(accounts.tokens("Ana")[0].id))
    assert accounts.by_secret(token) is None
    run(workspace, "remove", "Ana")
    assert accounts.is_gone("Ana")
    assert catalog.audit.first_broken_row() is None
    catalog.close()


def test_what_is_refused(tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    run(workspace, "add", "Ana", given="a good password 1\n")
    for arguments, given, error in (
        (("add", "Ana"), "a good password 1\n", Conflict),
        (("add", "Bo"), "short\n", BadInput),
        (("add", "Bo"), "aaaaaaaaaaaaaaaa\n", BadInput),
        (("add", "Bobby"), "xx bobby 12345\n", BadInput),
        (("add", "../x"), "a good password 1\n", BadInput),
        (("add", "a/b"), "a good password 1\n", BadInput),
        (("add", "Bo", "--role", "king"), "a good password 1\n", ConfigurationError),
        (("remove", "nobody"), "", NotFound),
        (("revoke", "77"), "", NotFound),
    ):
        with pytest.raises(error):
            run(workspace, *arguments, given=given)
