"""One workspace, one server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import ConfigurationError, Conflict
from app.workspace_lock import locked, require_unused
from tests.catalog.baseline import rows, write_baseline

HOLD = """
import sys, time
from pathlib import Path
from app.workspace_lock import locked
with locked(Path(sys.argv[1]), "segloop serve"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def segloop(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_second_holder_is_told_who_has_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(Conflict) as caught, locked(tmp_path, "segloop serve"):
        pass
    assert f"in use by process {holder.pid} on {socket.gethostname()} (segloop serve, since " in str(caught.value)
    with pytest.raises(Conflict, match=f"process {holder.pid}"):
        require_unused(tmp_path)


def test_the_lock_ends_with_its_process(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    require_unused(tmp_path)
    with locked(tmp_path, "segloop serve"):
        require_unused(tmp_path)  # this process has it
        with pytest.raises(Conflict, match=f"process {os.getpid()}"), locked(tmp_path, "another"):
            pass


def test_a_workspace_that_cannot_be_written_to_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(ConfigurationError, match="can't be written to: Is a directory"), locked(tmp_path, ""):
        pass


def test_a_workspace_without_a_lock_is_unused(tmp_path: Path) -> None:
    require_unused(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("catalog", "restore")], ids=" ".join)
def test_commands_that_write_refuse_and_touch_nothing(
    tmp_path: Path, holder: subprocess.Popen[str], command: tuple[str, ...]
) -> None:
    write_baseline(tmp_path / "catalog.sqlite")  # which an older segloop made: it would be upgraded
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "upload").write_text("half of an upload")
    before = contents(tmp_path)
    ended = segloop(*command, "--workspace", str(tmp_path))
    assert ended.returncode == 1
    assert f"is in use by process {holder.pid} on" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert contents(tmp_path) == before


def test_commands_that_read_go_on(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    workspace = ("--workspace", str(tmp_path))
    assert segloop("models", "list", *workspace).returncode == 0
    for name in ("labels", "models", "uploads"):
        (tmp_path / name).mkdir(exist_ok=True)
    ended = segloop("backup", str(tmp_path / "copy"), *workspace)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_no_command_upgrades_the_catalog_of_a_running_server(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    file = write_baseline(tmp_path / "catalog.sqlite")
    before = rows(file)
    ended = segloop("models", "list", "--workspace", str(tmp_path))
    assert (ended.returncode, f"process {holder.pid}" in ended.stderr) == (1, True)
    assert rows(file) == before


def test_a_second_server_leaves_the_first_alone(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    where = ("--studies", str(tmp_path / "studies"), "--workspace", str(tmp_path / "w"), "--port", "0")
    log = tmp_path / "w" / "logs" / "segloop.log"
    command = [sys.executable, "-m", "app.cli", "serve", *where]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        try:
            until = time.monotonic() + 120
            while not (tmp_path / "w" / "incoming").is_dir() or not log.is_file():
                assert time.monotonic() < until
                time.sleep(0.1)
            time.sleep(1)
            half = tmp_path / "w" / "incoming" / "half"
            second = segloop("serve", *where)
            half.write_text("an upload")
            third = segloop("serve", *where)
            assert (second.returncode, third.returncode) == (1, 1)
            assert f"process {first.pid}" in third.stderr
            assert first.poll() is None
            assert half.read_text() == "an upload"
        finally:
            first.terminate()
            first.wait(60)
    require_unused(tmp_path / "w")
