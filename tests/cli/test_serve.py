"""`segloop serve`: who may listen where."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import requests
import SimpleITK as sitk

from app.cli.serve import resolve_token
from app.errors import ConfigurationError
from app.settings import Settings, load
from app.workspace import Workspace
from tests.orthanc import free_port


@pytest.fixture
def paths(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "workspace")


def test_loopback_needs_no_token(paths: Workspace) -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        assert resolve_token(Settings(host=host), paths) == ""


def test_other_address_without_token_is_refused_with_a_way_to_go_on(paths: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="SEGLOOP_TOKEN"):
        resolve_token(Settings(host="0.0.0.0"), paths)
    token = "4f1c9a0b7d2e8f63"
    assert resolve_token(Settings(host="0.0.0.0", token=token), paths) == token  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["a", "secret", "aaaaaaaaaaaaaaaaaaaaaaaa", "abcabcabcabcabcabc", "0123456789abcde"])
def test_a_token_that_can_be_guessed_is_refused(paths: Workspace, token: str) -> None:
    for host in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(ConfigurationError, match="can be guessed"):
            resolve_token(Settings(host=host, token=token), paths)  # type: ignore[arg-type]


def test_pod_makes_its_token_once_and_keeps_it_private(paths: Workspace) -> None:
    settings = Settings(host="0.0.0.0", pod=True)
    token = resolve_token(settings, paths)
    assert len(token) >= 32
    assert resolve_token(settings, paths) == token
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


def test_workspace_that_cannot_be_made_exits_with_2(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "app.cli", "serve", "--workspace", str(tmp_path / "file" / "w"), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert ended.returncode == 2
    assert f"the workspace {tmp_path}/file/w can't be made: Not a directory" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_workspace_that_is_only_to_be_read_exits_with_2(tmp_path: Path) -> None:
    Workspace.open(tmp_path / "w")
    (tmp_path / "w").chmod(0o500)
    command = [sys.executable, "-m", "app.cli", "serve", "--workspace", str(tmp_path / "w"), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert f"the workspace {tmp_path}/w can't be written to: Permission denied" in ended.stderr


def test_others_cannot_enter_a_workspace(tmp_path: Path) -> None:
    assert stat.S_IMODE(Workspace.open(tmp_path / "new" / "w").root.stat().st_mode) == 0o700
    (tmp_path / "shared").mkdir(0o755)
    (tmp_path / "shared").chmod(0o755)
    assert stat.S_IMODE(Workspace.open(tmp_path / "shared").root.stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o750


def serve(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    (folder / "studies").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "app.cli", "serve", "--studies", str(folder / "studies")]
    command += ["--workspace", str(folder / "w"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("taken", ["--port", "--also-port"])
def test_a_port_in_use_exits_with_1_before_anything_starts(tmp_path: Path, taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = str(other.getsockname()[1])
        free = "--also-port" if taken == "--port" else "--port"
        ended = serve(tmp_path, taken, busy, free, str(free_port()))
        _, told = ended.communicate(timeout=60)
    assert ended.returncode == 1
    assert f"can't listen on 127.0.0.1:{busy}" in told
    assert "--also-port" in told
    assert "Traceback" not in told
    assert not (tmp_path / "w" / "catalog.sqlite").exists()


def test_one_server_answers_on_every_port(tmp_path: Path) -> None:
    """What is done through one port is seen through the other: the same application, not a copy."""
    one, two = free_port(), free_port()
    process = serve(tmp_path, "--port", str(one), "--also-port", str(two), "--also-port", str(two))
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Segloop: studies from")
        assert process.stdout.readline().strip() == f"listening on ports {one}, {two}"
        files = {"file": ("head.nii.gz", nifti())}
        assert requests.put(f"http://127.0.0.1:{one}/datastore/?image=head", files=files, timeout=30).status_code == 200
        assert requests.get(f"http://127.0.0.1:{two}/datastore/image/info?image=head", timeout=30).status_code == 200
        assert requests.get(f"http://127.0.0.1:{two}/status", timeout=30).json()["status"] == "ok"
    finally:
        process.terminate()
        _, problems = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGTERM), problems


def nifti() -> bytes:
    image = sitk.GetImageFromArray(np.arange(120, dtype=np.int16).reshape(4, 5, 6))
    with tempfile.TemporaryDirectory() as folder:
        sitk.WriteImage(image, f"{folder}/image.nii.gz")
        return Path(folder, "image.nii.gz").read_bytes()


def test_ports_are_a_setting_too(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("also_ports: [8911, 1527]\n")
    assert load(file, {})[0].also_ports == [8911, 1527]
    assert load(file, {"also_ports": [9000]})[0].also_ports == [9000]
    for bad in ("[0]", "[70000]", "[x]", "8911"):
        file.write_text(f"also_ports: {bad}\n")
        with pytest.raises(ConfigurationError, match="also_ports"):
            load(file, {})
