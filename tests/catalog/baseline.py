"""A catalog that commit 75f18de made: the last one before catalogs had revisions."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

DUMP = Path(__file__).with_name("catalog-75f18de.sql")


def write_baseline(file: Path) -> Path:
    """Make that catalog."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(DUMP.read_text(encoding="utf-8"))
    return file


def rows(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Everything in a catalog, by table; JSON as text, and without the table of revisions."""
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid")]
            for table in tables
            if table != "alembic_version"
        }


def execute(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)
