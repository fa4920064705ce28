"""Ids that need no table: known again with the same secret, and by nobody else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dialects.itksnap.images import SessionIds
from app.errors import ConfigurationError, UnknownSession
from app.services.server import server_secret
from app.workspace import Workspace

IDS = SessionIds(bytes(range(32)))

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(names)
def test_an_id_tells_its_model_and_fits_into_an_address(model: str) -> None:
    session_id = IDS.new(model)
    assert set(session_id) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert SessionIds(bytes(range(32))).model_of(session_id) == model


def test_ids_differ() -> None:
    assert len({IDS.new("nnInteractive") for _ in range(100)}) == 100


@given(st.data())
def test_no_changed_id_is_known(data: st.DataObject) -> None:
    session_id = IDS.new("nnInteractive")
    at = data.draw(st.integers(0, len(session_id) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != session_id[at]))
    with pytest.raises(UnknownSession):
        IDS.model_of(session_id[:at] + other + session_id[at + 1 :])


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_made_up_is_known(text: str) -> None:
    with pytest.raises(UnknownSession):
        IDS.model_of(text)


def test_another_servers_id_is_not_known() -> None:
    with pytest.raises(UnknownSession, match="choose the server again"):
        SessionIds(bytes(32)).model_of(IDS.new("nnInteractive"))


def test_a_workspace_has_one_secret_that_nobody_else_reads(tmp_path: Path) -> None:
    paths = Workspace.open(tmp_path)
    secret = server_secret(paths)
    assert len(secret) == 32
    assert server_secret(Workspace.open(tmp_path)) == secret
    assert stat.S_IMODE(paths.secret.stat().st_mode) == 0o600
    assert server_secret(Workspace.open(tmp_path / "other")) != secret


def test_a_damaged_secret_is_not_signed_with(tmp_path: Path) -> None:
    paths = Workspace.open(tmp_path)
    paths.secret.write_bytes(b"")
    with pytest.raises(ConfigurationError, match="delete it"):
        server_secret(paths)
