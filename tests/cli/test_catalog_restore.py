"""`segloop catalog restore`: the way back that a refused start names, and `backup` and `restore` of older catalogs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from app.archives.memory import MemoryArchive
from app.catalog import Catalog
from app.cli.backup import create_backup, restore_catalog, restore_workspace
from app.durable import file_sha256
from app.errors import ConfigurationError, Conflict
from app.services import Services
from app.settings import Settings
from tests.catalog.baseline import execute, rows, write_baseline

SINCE = "1.2.826.0.1.1/final/v0003-12345678.dcm"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """One that commit 75f18de made. Its label files aren't those that were submitted, but have their digests."""
    root = tmp_path / "w"
    file = write_baseline(root / "catalog.sqlite")
    for row in rows(file)["label"]:
        path = root / "labels" / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row["path"])
        execute(file, f"UPDATE label SET sha256 = '{file_sha256(path)}' WHERE id = {row['id']}")
    for name in ("models", "uploads"):
        (root / name).mkdir()
    return root


def settings(workspace: Path) -> Settings:
    return Settings(workspace=workspace, models={"fake": {"type": "fake"}})  # type: ignore[dict-item]


def segloop(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def upgrade_as_a_newer_one_would(workspace: Path) -> None:
    """An upgrade, a label, and another upgrade, to a revision that this program doesn't know."""
    Catalog.open(workspace / "catalog.sqlite").close()
    (workspace / "labels" / SINCE).write_text("since")
    execute(workspace / "catalog.sqlite", "UPDATE alembic_version SET version_num = '9999'")


def test_start_over_a_newer_catalog_names_the_command_that_goes_back(workspace: Path, tmp_path: Path) -> None:
    before = rows(workspace / "catalog.sqlite")
    upgrade_as_a_newer_one_would(workspace)
    newer = rows(workspace / "catalog.sqlite")
    (tmp_path / "studies").mkdir()

    refused = segloop("serve", "--studies", str(tmp_path / "studies"), "--workspace", str(workspace), "--port", "0")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "was made by a newer segloop (revision 9999" in refused.stderr
    assert f"label files made since then stay in {workspace / 'labels'}" in refused.stderr
    assert SINCE in refused.stderr
    named = re.search(r"`segloop (catalog restore [^`]*)`", refused.stderr)
    assert named is not None

    restored = segloop(*shlex.split(named[1]))
    assert restored.returncode == 0, restored.stderr
    assert rows(workspace / "catalog.sqlite") == before
    assert f"  {SINCE}\n" in restored.stdout
    assert (workspace / "labels" / SINCE).read_text() == "since"
    (replaced,) = (workspace / "backups").glob("replaced-*")
    assert str(replaced) in restored.stdout
    assert rows(replaced) == newer

    services = Services.open(settings(workspace), MemoryArchive([]))
    assert [(one.error, one.advice) for one in services.project.catalog.outbox.refusals()] == [
        ("the archive answers 409: another object has this UID", "Delete the other object, then try again."),
        ("413", ""),
        ("", "Ask the administrator."),
    ]
    assert [one.number for one in services.labels.history("1.2.826.0.1.1")] == [1, 2]
    services.stop()


def test_running_server_keeps_its_catalog(workspace: Path) -> None:
    catalog = Catalog.open(workspace / "catalog.sqlite")
    before = rows(workspace / "catalog.sqlite")
    with pytest.raises(Conflict, match="stop the server first"):
        restore_catalog(None, workspace)
    assert rows(workspace / "catalog.sqlite") == before
    assert not list((workspace / "backups").glob("replaced-*"))
    catalog.close()
    restore_catalog(None, workspace)


@pytest.mark.parametrize("damage", ["garbage", "gone"])
def test_damaged_catalog_is_replaced_and_kept(workspace: Path, damage: str) -> None:
    file = workspace / "catalog.sqlite"
    before = rows(file)
    Catalog.open(file).close()
    file.unlink()
    if damage == "garbage":
        file.write_bytes(b"no catalog" * 1000)
    restore_catalog(None, workspace)
    assert rows(file) == before
    kept = [path.read_bytes() for path in (workspace / "backups").glob("replaced-*")]
    assert kept == ([b"no catalog" * 1000] if damage == "garbage" else [])


def test_replaced_catalog_comes_back_by_name(workspace: Path) -> None:
    file = workspace / "catalog.sqlite"
    Catalog.open(file).close()
    execute(file, "INSERT INTO note VALUES ('new', 'row')")
    newest = rows(file)
    restore_catalog(None, workspace)
    (replaced,) = (workspace / "backups").glob("replaced-*")
    restore_catalog(replaced, workspace)
    assert rows(file) == newest


def test_only_a_catalog_that_this_program_can_open_is_restored(workspace: Path, tmp_path: Path) -> None:
    file = workspace / "catalog.sqlite"
    with pytest.raises(ConfigurationError, match="there is no backup"):
        restore_catalog(None, workspace)
    before = rows(file)
    for content in (b"", b"no catalog" * 1000):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(ConfigurationError, match="is not a catalog"):
            restore_catalog(tmp_path / "other", workspace)
    with pytest.raises(ConfigurationError, match="is not a catalog"):
        restore_catalog(tmp_path / "nowhere", workspace)
    assert rows(file) == before


def test_server_with_a_damaged_page_does_not_start(workspace: Path) -> None:
    file = workspace / "catalog.sqlite"
    Catalog.open(file).close()
    with file.open("r+b") as content:
        content.seek(-2048, os.SEEK_END)
        content.write(os.urandom(2048))
        for page in range(4096, content.tell(), 4096):
            content.seek(page)
            content.write(b"\xff" * 64)
    with pytest.raises(ConfigurationError, match="is damaged"):
        Services.open(settings(workspace), MemoryArchive([]))


def test_backup_of_an_older_workspace_stays_as_it_is_and_is_restored(workspace: Path, tmp_path: Path) -> None:
    before = rows(workspace / "catalog.sqlite")
    create_backup(tmp_path / "backup", workspace)
    restore_workspace(tmp_path / "backup", tmp_path / "again")
    for folder in (workspace, tmp_path / "backup", tmp_path / "again"):
        assert rows(folder / "catalog.sqlite") == before
        assert not (folder / "backups").exists()
    assert len(Catalog.open(tmp_path / "again" / "catalog.sqlite").outbox.refusals()) == 3


def test_backup_of_a_newer_workspace_is_not_restored(workspace: Path, tmp_path: Path) -> None:
    create_backup(tmp_path / "backup", workspace)
    upgrade_as_a_newer_one_would(workspace)
    (tmp_path / "backup" / "catalog.sqlite").write_bytes((workspace / "catalog.sqlite").read_bytes())
    with pytest.raises(ConfigurationError, match="newer segloop"):
        restore_workspace(tmp_path / "backup", tmp_path / "again")
    assert not (tmp_path / "again").exists()
