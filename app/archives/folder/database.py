"""The SQLite file of the folder index: its schema, and opening it."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path

from app.errors import ArchiveUnavailable

VERSION = 3

_FILES = """
-- A volume file that can be shown as a DICOM series has the UIDs and the header of that series, and as many slices.
CREATE TABLE files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL,
    study TEXT NOT NULL, series TEXT NOT NULL, sop TEXT NOT NULL, sop_class TEXT NOT NULL, syntax TEXT NOT NULL,
    modality TEXT NOT NULL, header TEXT NOT NULL, facts TEXT NOT NULL, slices INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX by_study ON files (study, series, sop);
CREATE INDEX by_series ON files (series, sop);
CREATE INDEX by_sop ON files (sop);
"""

_SCHEMA = f"""
{_FILES}
-- A case is known by its source: a SeriesInstanceUID, or the path of a volume file.
CREATE TABLE cases (
    id TEXT PRIMARY KEY, source TEXT NOT NULL UNIQUE, record TEXT NOT NULL, generation INTEGER NOT NULL,
    gone INTEGER NOT NULL
) WITHOUT ROWID;
-- Sources whose files changed and whose case was not brought up to date yet; survives a crash in between.
CREATE TABLE touched (source TEXT PRIMARY KEY) WITHOUT ROWID;
-- `rules` are the options by which cases were made.
CREATE TABLE identity (name TEXT NOT NULL, generation INTEGER NOT NULL, rules TEXT NOT NULL);
"""

# Versions 1 and 2 knew of volume files only that they are some. Cases keep their ids, to which labels belong.
_FROM_2 = f"""
DROP TABLE files;
{_FILES}
INSERT OR IGNORE INTO touched SELECT source FROM cases;
ALTER TABLE identity ADD COLUMN rules TEXT NOT NULL DEFAULT '';
PRAGMA user_version = {VERSION};
"""  # noqa: S608 - our own words


def open_index(path: Path) -> sqlite3.Connection:
    """The index, recreated if it is missing, damaged or of another version. Raises `ArchiveUnavailable`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            for ending in ("", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            return _connect(path)
    except (OSError, sqlite3.Error) as error:
        raise ArchiveUnavailable(f"the index of the folder can't be opened at {path}: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version in (1, 2):
            connection.executescript(_FROM_2)
        elif version != VERSION:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                connection.execute(f"DROP TABLE {table}")
            connection.executescript(_SCHEMA)
            connection.execute("INSERT INTO identity VALUES (?, 0, '')", (uuid.uuid4().hex,))
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.commit()
    except sqlite3.Error:
        connection.close()
        raise
    return connection
