"""Catalogs of other revisions: upgraded after a backup, or refused with the reason and the way back."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.catalog import Catalog, upgrade
from app.catalog.migrations import versions
from app.catalog.schema import metadata
from app.errors import ConfigurationError
from tests.catalog.baseline import execute, rows, write_baseline


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite"


def backups(file: Path) -> list[Path]:
    return sorted((file.parent / "backups").glob("*"))


def label(file: Path, name: str) -> None:
    path = file.parent / "labels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"voxels")


def revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        (number,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(number)


# The schema


def test_migrations_make_exactly_the_schema(tmp_path: Path) -> None:
    migrated = sa.create_engine(f"sqlite:///{tmp_path / 'migrated'}")
    with migrated.begin() as connection:
        upgrade.migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    made = sa.create_engine(f"sqlite:///{tmp_path / 'made'}")
    metadata.create_all(made)
    # Alembic's comparison doesn't see defaults, primary keys, and the conditions of indexes.
    assert structure(tmp_path / "migrated") == structure(tmp_path / "made")


def structure(file: Path) -> dict[str, object]:
    """Columns of every table, in any order, and the text of every index."""
    with closing(sqlite3.connect(file)) as connection:
        master = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE name != 'alembic_version'"
        ).fetchall()
        tables = [name for kind, name, _ in master if kind == "table"]
        return {
            "tables": {t: {row[1:] for row in connection.execute(f"PRAGMA table_xinfo({t})")} for t in tables},
            "references": {t: {row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({t})")} for t in tables},
            "indexes": {name: sql for kind, name, sql in master if kind == "index" and "alembic_version" not in name},
        }


def test_every_migration_is_known_without_alembic() -> None:
    scripts = ScriptDirectory(str(Path(upgrade.__file__).parent / "migrations"))
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == upgrade.REVISIONS
    assert len(list(Path(versions.__path__[0]).glob("v*.py"))) == len(upgrade.REVISIONS)


def test_alembic_is_imported_only_to_migrate(file: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from app.catalog import Catalog\n"
        "for _ in range(2): Catalog.open(Path(sys.argv[1])).close()\n"
        "assert not [name for name in sys.modules if name.startswith('alembic')]"
    )
    subprocess.run([sys.executable, "-c", script, str(file)], check=True, timeout=60)
    assert revision(file) == upgrade.HEAD
    assert backups(file) == []


# Upgrading


def test_catalog_from_before_revisions_keeps_every_row(file: Path) -> None:
    before = rows(write_baseline(file))
    assert all(before.values()), "every table of the fixture has rows"
    catalog = Catalog.open(file)
    after = rows(file)
    assert revision(file) == upgrade.HEAD
    for row in after["label"]:
        assert row.pop("states") is None, "what is said of each structure is in the files"
    assert after.pop("account") == after.pop("credential") == []
    assert {name: found for name, found in after.items() if name != "outbox"} == {
        name: found for name, found in before.items() if name != "outbox"
    }
    split = ("error", "advice")
    for old, new in zip(before["outbox"], after["outbox"], strict=True):
        assert {k: v for k, v in new.items() if k not in split} == {k: v for k, v in old.items() if k != "error"}
    assert [(row["state"], row["error"], row["advice"]) for row in after["outbox"]] == [
        ("delivered", "", ""),
        ("waiting", "the archive answers 503 Service Unavailable", ""),
        (
            "refused",
            "the archive answers 409: another object has this UID",
            "Delete the other object, then try again.",
        ),
        ("refused", "413", ""),
        ("waiting", "the archive answers 415", ""),  # sent again: what to do about it has been done
        ("refused", "", "Ask the administrator."),
    ]
    assert catalog.audit.first_broken_row() is None


def test_upgraded_catalog_is_read_and_written_to(file: Path) -> None:
    catalog = Catalog.open(write_baseline(file))
    assert catalog.cases.counts() == (6, 4)
    assert [one.number for one in catalog.labels.history("1.2.826.0.1.1")] == [1, 2]
    assert [one.holder for one in catalog.claims.held(0)] == ["björn", "chen"]
    assert [job.state for job in catalog.jobs.listed()] == ["queued", "failed", "done"]
    assert catalog.scores.newest("entropy:segmentation")["1.2.826.0.1.1"].value == 0.1 + 0.2
    served = catalog.versions.served("segmentation")
    assert served is not None
    assert served.id == "segmentation-1"
    catalog.outbox.refused(2, "no", "Wait.")
    assert [(one.label_id, one.advice) for one in catalog.outbox.refusals()] == [
        (2, "Wait."),
        (3, "Delete the other object, then try again."),
        (4, ""),
        (6, "Ask the administrator."),
    ]


def test_backup_is_the_catalog_before_the_upgrade(file: Path) -> None:
    before = rows(write_baseline(file))
    Catalog.open(file).close()
    Catalog.open(file).close()
    (backup,) = backups(file)
    assert backup.name.startswith("catalog-0001-")
    assert rows(backup) == before


def test_one_of_several_processes_upgrades_and_the_others_wait(file: Path) -> None:
    write_baseline(file)
    # All find the old revision before the first of them is done: its backup takes that long.
    script = (
        "import sys, time; from pathlib import Path; from app.catalog import Catalog, backups\n"
        "copy = backups.copy\n"
        "backups.copy = lambda *files: (time.sleep(1), copy(*files))\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(len(Catalog.open(Path(sys.argv[1])).outbox.refusals()))"
    )
    command = [sys.executable, "-c", script, str(file)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        counted, problems = process.communicate(timeout=120)
        assert (process.returncode, counted) == (0, "3\n"), problems
    assert len(backups(file)) == 1


def test_upgrade_that_fails_leaves_everything_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(write_baseline(file))
    migrate = upgrade.migrate

    def fail(connection: sa.Connection) -> None:
        migrate(connection)
        raise RuntimeError("no")

    monkeypatch.setattr(upgrade, "migrate", fail)
    with pytest.raises(RuntimeError):
        Catalog.open(file)
    assert rows(file) == before
    assert backups(file) == []
    monkeypatch.undo()
    Catalog.open(file).close()
    assert revision(file) == upgrade.HEAD


# Refusing


def test_newer_catalog_is_refused_with_the_way_back(file: Path) -> None:
    label(file, "1.2.826.0.1.1/final/v0001-aaaaaaaa.dcm")
    Catalog.open(write_baseline(file)).close()
    (backup,) = backups(file)
    for name in ("v0001-aaaaaaaa.dcm", "v0003-12345678.dcm", ".writing-1234.dcm"):
        label(file, f"1.2.826.0.1.1/final/{name}")
    execute(file, "UPDATE alembic_version SET version_num = '9999'")
    before = rows(file)
    with pytest.raises(ConfigurationError) as refused:
        Catalog.open(file)
    told = str(refused.value)
    assert f"{file} was made by a newer segloop (revision 9999" in told
    assert f"`segloop catalog restore --workspace {file.parent}`" in told
    assert str(backup) in told
    assert told.endswith("(1): 1.2.826.0.1.1/final/v0003-12345678.dcm")
    assert rows(file) == before
    assert backups(file) == [backup]


def test_backup_of_a_newer_catalog_is_no_way_back(file: Path) -> None:
    Catalog.open(file).close()
    execute(file, "UPDATE alembic_version SET version_num = '9999'")
    (file.parent / "backups").mkdir()
    (file.parent / "backups" / "catalog-9998-20990101T000000.000000Z.sqlite").write_bytes(file.read_bytes())
    with pytest.raises(ConfigurationError, match=r"There is no backup in .* that this segloop can open"):
        Catalog.open(file)


@pytest.mark.parametrize("damage", ["garbage", "cut", "a table", "a column", "a column of the baseline"])
def test_damaged_catalog_is_refused(file: Path, damage: str) -> None:
    write_baseline(file)
    if damage == "a column of the baseline":
        execute(file, "ALTER TABLE outbox DROP COLUMN location")
    else:
        Catalog.open(file).close()
    if damage == "garbage":
        file.write_bytes(os.urandom(8192))
    elif damage == "cut":
        os.truncate(file, 5000)
    elif damage == "a table":
        execute(file, "DROP TABLE score")
    elif damage == "a column":
        execute(file, "ALTER TABLE lease DROP COLUMN reason")
    with pytest.raises(ConfigurationError, match="is damaged") as refused:
        Catalog.open(file)
    named = {"a table": "score", "a column": "lease.reason", "a column of the baseline": "outbox.location"}
    assert named.get(damage, "") in str(refused.value)
    assert len(backups(file)) == (damage != "a column of the baseline")


def test_damaged_page_is_found_by_a_check(file: Path) -> None:
    catalog = Catalog.open(write_baseline(file))
    catalog.database.check()
    catalog.close()
    size = file.stat().st_size
    with file.open("r+b") as content:
        for page in range(4096, size, 4096):
            content.seek(page)
            content.write(os.urandom(512))
    with pytest.raises(ConfigurationError, match="is damaged"):
        Catalog.open(file).database.check()


def test_missing_or_empty_catalog_beside_labels_is_refused(file: Path) -> None:
    label(file, "1/final/v0001-12345678.dcm")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"holds 1 label files, but the catalog .* is missing or empty"):
            Catalog.open(file)
        file.unlink(missing_ok=True)
        file.touch()


def test_empty_file_of_a_first_start_that_was_killed_becomes_a_catalog(file: Path) -> None:
    file.touch()
    label(file, "1/final/.writing-12345678.dcm")
    Catalog.open(file).close()
    assert revision(file) == upgrade.HEAD


def test_catalog_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "folder" / "catalog.sqlite").mkdir(parents=True)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="can't be used: unable to open"):
        Catalog.open(tmp_path / "folder" / "catalog.sqlite")
    with pytest.raises(ConfigurationError, match=r"can't be used: .*Not a directory"):
        Catalog.open(tmp_path / "file" / "w" / "catalog.sqlite")


def test_only_this_user_reads_the_catalog(file: Path) -> None:
    Catalog.open(file).close()
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o664)
    Catalog.open(file).close()
    assert file.stat().st_mode & 0o777 == 0o660
