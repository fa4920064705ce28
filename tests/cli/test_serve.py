"""`segloop serve`: who may listen where, and what the start prints."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.serve import banner, the_token
from app.errors import ConfigurationError
from app.settings import Settings
from app.workspace import Workspace


@pytest.fixture
def paths(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "workspace")


def test_loopback_needs_no_token(paths: Workspace) -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        assert the_token(Settings(host=host), paths) == ""


def test_other_address_without_token_is_refused_with_a_way_to_go_on(paths: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="SEGLOOP_TOKEN"):
        the_token(Settings(host="0.0.0.0"), paths)
    assert the_token(Settings(host="0.0.0.0", token="secret"), paths) == "secret"  # type: ignore[arg-type]


def test_pod_makes_its_token_once_and_keeps_it_private(paths: Workspace) -> None:
    settings = Settings(host="0.0.0.0", pod=True)
    token = the_token(settings, paths)
    assert len(token) >= 32
    assert the_token(settings, paths) == token
    assert stat.S_IMODE(paths.token.stat().st_mode) == 0o600


def test_command_exits_with_2_and_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.cli", "serve", "--host", "0.0.0.0", "--workspace", str(tmp_path / "w")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert ended.returncode == 2
    assert "SEGLOOP_TOKEN" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_missing_folder_of_studies_exits_with_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.cli", "serve", "--studies", str(tmp_path / "nowhere"), "--port", "0"]
    command += ["--workspace", str(tmp_path / "w")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert ended.returncode == 2
    assert "nowhere" in ended.stderr


def test_banner_of_a_pod_has_its_public_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_POD_ID", "abc123")
    monkeypatch.setenv("RUNPOD_PUBLIC_IP", "203.0.113.7")
    monkeypatch.setenv("RUNPOD_TCP_PORT_8000", "40123")
    text = banner(Settings(host="0.0.0.0", pod=True), "tok", 8000)
    assert "https://abc123-8000.proxy.runpod.net/t/tok/" in text
    assert "http://203.0.113.7:40123/t/tok/" in text


def test_banner_on_loopback_has_no_token() -> None:
    text = banner(Settings(), "", 8123)
    assert "http://127.0.0.1:8123" in text
    assert "/t/" not in text
