"""Backups of the catalog, made before its schema is upgraded, and restoring one of them.

| file in `backups/` of the workspace | holds |
| --- | --- |
| `catalog-<revision>-<time, UTC>.sqlite` | the catalog as it was before it was upgraded from that revision |
| `replaced-<time, UTC>.sqlite` | the catalog that one of these replaced |
"""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from app.catalog.upgrade import REVISIONS, corruption, revision
from app.durable import flush, make_folder, write_durably
from app.errors import ConfigurationError, Conflict
from app.workspace import Workspace, seg_beside

_LISTED = 3
"""How many label files an error message lists; `segloop catalog restore` lists all of them."""


class NewerCatalog(ConfigurationError):
    """A catalog of a revision that this program doesn't know."""


@dataclass(frozen=True)
class Restored:
    """`replaced` is where the previous catalog was moved, None if there was none. `unknown` are the label files that
    the restored catalog has no rows for, because they were made after the backup; paths relative to `labels/`."""

    backup: Path
    replaced: Path | None
    unknown: list[str]


def copy(file: Path, into: Path) -> None:
    """Copy a catalog as of this moment, durably, into one file. It may be in use; `into` may not."""
    make_folder(into.parent)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=".writing-") as folder:
        whole = Path(folder) / into.name
        with closing(sqlite3.connect(file, timeout=60)) as source, closing(sqlite3.connect(whole)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # else reading it would need a folder that can be written to
        with whole.open("rb") as content:
            write_durably(into, lambda target: shutil.copyfileobj(content, target))


def label_paths(file: Path) -> frozenset[str]:
    """The label files that a catalog has rows for, relative to `labels/`. The catalog must not be in use; it isn't
    upgraded, and nothing is written beside it.

    Raises `ConfigurationError` if the file is damaged, is not a catalog, or was made by a newer segloop.
    """
    address = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True))
    try:
        with engine.connect() as connection:
            if problem := corruption(connection):
                raise ConfigurationError(f"{file} is damaged: {problem}")
            found = revision(connection)
            if found is not None and found not in REVISIONS:
                raise NewerCatalog(f"{file} was made by a newer segloop (revision {found})")
            return frozenset(connection.exec_driver_sql("SELECT path FROM label").scalars())
    except sa.exc.DBAPIError as error:
        raise ConfigurationError(f"{file} is not a catalog: {error.orig}") from error
    finally:
        engine.dispose()


@contextmanager
def backup_before_upgrade(file: Path, found: str) -> Iterator[None]:
    """Back up a catalog. The backup is removed if the block raises: the catalog is unchanged then."""
    backup = Workspace(file.parent).backups / f"catalog-{found}-{_now()}.sqlite"
    copy(file, backup)
    try:
        yield
    except BaseException:
        backup.unlink()
        raise


def newest(file: Path) -> tuple[Path, frozenset[str]] | None:
    """The newest backup of a catalog that this program can open, and its `label_paths`."""
    backups = Workspace(file.parent).backups.glob("catalog-*-*.sqlite")
    for backup in sorted(backups, key=lambda path: path.name.split("-")[2], reverse=True):
        with suppress(ConfigurationError):
            return backup, label_paths(backup)
    return None


def restore(file: Path, backup: Path | None = None) -> Restored:
    """Replace a catalog by a backup, by default the newest that this program can open. The previous catalog is kept.

    Raises `ConfigurationError` if this program can't open the backup, and `Conflict` if the catalog is in use. Nothing
    is changed then.
    """
    backups = Workspace(file.parent).backups
    found = newest(file) if backup is None else (backup, label_paths(backup))
    if found is None:
        raise ConfigurationError(f"there is no backup in {backups} that this segloop can open")
    source, known = found
    replaced = set_aside(file)
    copy(source, file)
    return Restored(source, replaced, label_files(file, known))


def set_aside(file: Path) -> Path | None:
    """Move a catalog to `backups/`; returns where it is now, None if there was none. Raises `Conflict` if it is in
    use."""
    backups = Workspace(file.parent).backups
    if file.exists():
        _leave_wal_mode(file)
    replaced = backups / f"replaced-{_now()}.sqlite"
    # A damaged catalog may still have a log; SQLite would apply it to the one that takes its place.
    parts = [part for part in ("", "-wal", "-shm") if Path(f"{file}{part}").exists()]
    make_folder(backups)
    for part in parts:
        Path(f"{file}{part}").rename(f"{replaced}{part}")
    flush(backups)
    return replaced if parts else None


def label_files(file: Path, known: Collection[str] = ()) -> list[str]:
    """The label files of a catalog's workspace that are not in `known`, nor the DICOM SEG beside one of those; relative
    to `labels/`, sorted."""
    folder = Workspace(file.parent).labels
    # Hidden files are unfinished ones of writers that were killed.
    files = (path for path in folder.rglob("[!.]*") if path.is_file())
    return sorted({str(path.relative_to(folder)) for path in files}.difference(known, map(seg_beside, known)))


def recovery_advice(file: Path) -> str:
    """What an operator can do about a catalog that this program can't use, as the end of an error message."""
    paths = Workspace(file.parent)
    found = newest(file)
    if found is None:
        return (
            f"There is no backup in {paths.backups} that this segloop can open; `segloop restore` makes a new workspace"
            " from a folder that `segloop backup` made"
        )
    backup, known = found
    command = f"segloop catalog restore --workspace {shlex.quote(str(paths.root))}"
    advice = f"To restore the catalog from before its upgrade ({backup}), stop the server and run `{command}`"
    since = label_files(file, known)
    if not since:
        return advice
    names = ", ".join(since[:_LISTED]) + (", ..." if len(since) > _LISTED else "")
    return (
        f"{advice}; label files made since then stay in {paths.labels}, unknown to that catalog ({len(since)}): {names}"
    )


def _leave_wal_mode(file: Path) -> None:
    """Write a catalog's log back into its file, which works only if no other process has it open: raises `Conflict`
    otherwise. A file that SQLite can't read is left as it is."""
    try:
        with closing(sqlite3.connect(file, timeout=0)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise Conflict(f"{file} is in use; stop the server first") from error


def _now() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
