"""Opening the catalog: one engine, explicit transactions.

SQLite runs in WAL mode with `synchronous=FULL`: a transaction that has committed survives a kill and a power cut.
Writers take the write lock at the start (`BEGIN IMMEDIATE`), so that what they read is still true when they write;
readers never wait. Nothing but this file knows that the database is SQLite.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.catalog.schema import metadata


class Database:
    """An engine with two kinds of transaction: `read()` and `write()`. Thread-safe."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @classmethod
    def sqlite(cls, file: Path) -> Database:
        file.parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(f"sqlite:///{file}", connect_args={"timeout": 60, "check_same_thread": False})

        @sa.event.listens_for(engine, "connect")
        def configure(connection: Any, _record: object) -> None:
            connection.isolation_level = None  # we say BEGIN ourselves; sqlite3's own rule would begin too late
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=60000"):
                connection.execute(f"PRAGMA {pragma}")

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            writing = connection.get_execution_options().get("writing", False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

        with engine.execution_options(writing=True).begin() as connection:
            metadata.create_all(connection)
        return cls(engine)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent view; never waits for writers."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that holds the write lock from its start; commits at the end, or rolls back on any error."""
        with self._engine.execution_options(writing=True).begin() as connection:
            yield connection

    def backup(self, into: Path) -> None:
        """A consistent copy of the whole database while it is in use."""
        copy = sqlite3.connect(into)
        source = self._engine.raw_connection()
        try:
            driver: Any = source.driver_connection
            driver.backup(copy)
        finally:
            source.close()
            copy.close()

    def close(self) -> None:
        self._engine.dispose()
