"""Opening the catalog: one engine, explicit transactions.

SQLite runs in WAL mode with `synchronous=FULL`: a transaction that has committed survives a kill and a power cut.
Writers take the write lock at the start (`BEGIN IMMEDIATE`), so that what they read can't change before they write;
readers never wait. Nothing above this package depends on SQLite.
"""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.catalog import backups
from app.catalog.schema import case, label
from app.catalog.upgrade import HEAD, REVISIONS, corruption, missing_columns, revision, upgrade
from app.errors import ConfigurationError, Unavailable
from app.workspace import Workspace
from app.workspace_lock import require_unused

_UNFINISHED = 8
"""Label files without rows that kills may have left."""

LOCK_SECONDS = 60
"""How long to wait for another process that has the file locked."""

_ENVIRONMENT_ERRORS = frozenset(
    {sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN}
)
"""Errors of the file system or of permissions, not of the file."""


class Database:
    """An engine with two kinds of transaction: `read()` and `write()`. Thread-safe."""

    def __init__(self, engine: sa.Engine, file: Path) -> None:
        self._engine = engine
        self._file = file

    @classmethod
    def sqlite(cls, file: Path, *, rebuilding: bool = False) -> Database:
        """Open a catalog. It is created if there is none, and upgraded, after a backup, if its revision is older.
        `rebuilding`: it may be created beside label files.

        Raises `ConfigurationError` if it is damaged, was made by a newer segloop, is missing although there are label
        files, or can't be written to, `Unavailable` if another process keeps it locked, and `Conflict` if it would have
        to be upgraded while a server uses its workspace.
        """
        engine = _engine(file)
        try:
            with _operator_errors(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                _keep_private(file)
                _prepare(engine, file, rebuilding)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, file)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction with a consistent snapshot; never waits for writers."""
        with _full_disk(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that holds the write lock from its start; commits at the end, or rolls back on any error.
        Raises `OSError` if the disk is full."""
        with _full_disk(), self._engine.execution_options(writing=True).begin() as connection:
            yield connection

    def check(self) -> None:
        """Read the whole file. Raises `ConfigurationError` if it is damaged or can't be written to, or knows nothing of
        the label files beside it."""
        with _operator_errors(self._file), self.write() as connection:
            _require_no_corruption(connection, self._file)
            if connection.execute(sa.select(label.c.id).limit(1)).first() is None:
                # A submission that was killed leaves a file without a row, and before that the row of its case.
                unknown = connection.execute(sa.select(case.c.id).limit(1)).first() is None
                _require_no_label_files(self._file, most=0 if unknown else _UNFINISHED)

    def problem(self) -> str:
        """Why nothing can be written now; "" if it can. Doesn't wait for other writers."""
        try:
            with closing(sqlite3.connect(self._file, timeout=0)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("CREATE TABLE probe (a)")
                connection.rollback()
        except sqlite3.Error as error:
            return "" if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY else str(error)
        return ""

    def close(self) -> None:
        self._engine.dispose()


def _engine(file: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{file}", connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we issue BEGIN ourselves; sqlite3 would begin too late
        for pragma in (f"busy_timeout={LOCK_SECONDS * 1000}", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        _use_wal(connection)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _keep_private(file: Path) -> None:
    """Only this user may read a new catalog, and nobody but its group an older one. SQLite gives its log the same
    mode."""
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        state = file.stat()
        if state.st_mode & 0o007 and state.st_uid == os.getuid():
            file.chmod(state.st_mode & 0o770)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Changing a new or older file to WAL needs it exclusively. SQLite doesn't wait for that: it fails at once while
    another process is doing the same."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _prepare(engine: sa.Engine, file: Path, rebuilding: bool) -> None:
    """Create, upgrade or check the schema."""
    with engine.begin() as connection:
        if revision(connection) == HEAD:
            _require_schema(connection, file)
            return
        _require_no_corruption(connection, file)

    # The stack is outermost: the backup is removed after the transaction was rolled back, not before.
    with ExitStack() as backup, engine.execution_options(writing=True).begin() as connection:

        def before(found: str | None) -> None:
            if found is None:
                if not rebuilding:
                    _require_no_label_files(file)
            elif found not in REVISIONS:
                raise ConfigurationError(
                    f"the catalog {file} was made by a newer segloop (revision {found}; this one knows up to {HEAD})."
                    f" Start the newer segloop again. {backups.recovery_advice(file)}"
                )
            else:
                # Another program's server must not find its tables changed.
                require_unused(file.parent)
                backup.enter_context(backups.backup_before_upgrade(file, found))

        upgrade(connection, before)
        _require_schema(connection, file)


def _require_no_corruption(connection: sa.Connection, file: Path) -> None:
    if problem := corruption(connection):
        raise ConfigurationError(f"the catalog {file} is damaged: {problem}. {backups.recovery_advice(file)}")


def _require_schema(connection: sa.Connection, file: Path) -> None:
    if absent := missing_columns(connection):
        raise ConfigurationError(
            f"the catalog {file} is damaged: it lacks {', '.join(absent)}. {backups.recovery_advice(file)}"
        )


def _require_no_label_files(file: Path, most: int = 0) -> None:
    there = backups.label_files(file)
    if len(there) > most:
        paths = Workspace(file.parent)
        raise ConfigurationError(
            f"{paths.labels} holds {len(there)} label files, but the catalog {file} is missing or"
            f" empty. To start without them, use another workspace. To make a catalog from what the files say, run"
            f" `segloop fsck --repair --workspace {shlex.quote(str(paths.root))}`. {backups.recovery_advice(file)}"
        )


@contextmanager
def _full_disk() -> Iterator[None]:
    """As other writers report it, so that it is answered like theirs."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error) and error.orig.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


@contextmanager
def _operator_errors(file: Path) -> Iterator[None]:
    """Translate errors of SQLite and the file system into messages for the operator."""
    try:
        yield
    except (OSError, sqlite3.Error, sa.exc.DBAPIError) as error:
        reason = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        code = reason.sqlite_errorcode & 0xFF if isinstance(reason, sqlite3.Error) else None
        if code == sqlite3.SQLITE_BUSY:
            raise Unavailable(f"another process keeps the catalog {file} locked") from error
        if code is None or code in _ENVIRONMENT_ERRORS:
            raise ConfigurationError(f"the catalog {file} can't be used: {reason}") from error
        raise ConfigurationError(f"the catalog {file} is damaged: {reason}. {backups.recovery_advice(file)}") from error
