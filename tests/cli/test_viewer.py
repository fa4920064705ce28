"""`segloop viewer install` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.errors import BadFile
from app.web.viewer.install import PINNED, STAMP, home


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["viewer", "install", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_another_file_is_refused_and_the_workspace_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "other.tgz").write_bytes(b"something else")
    with pytest.raises(BadFile, match="sha512"):
        run("--from", str(tmp_path / "other.tgz"), "--workspace", str(tmp_path / "workspace"))
    with pytest.raises(BadFile, match="can't be read"):
        run("--from", str(tmp_path / "gone.tgz"), "--workspace", str(tmp_path / "workspace"))
    assert not (tmp_path / "workspace").exists()


def test_what_is_there_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    monkeypatch.setenv("SEGLOOP_VIEWER_DIR", str(tmp_path / "viewer"))
    folder = home(tmp_path / "viewer")
    folder.mkdir(parents=True)
    stamp = f'{{"version": "{PINNED.version}", "integrity": "{PINNED.integrity}", "files": 1, "bytes": 2}}'
    (folder / STAMP).write_text(stamp)
    assert f"{folder} already" in run().replace("\n", "")
