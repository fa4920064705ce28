"""Revisions of the schema: which one a database has, and upgrading it to the newest.

`schema` is the newest revision. `migrations/` holds one Alembic script per revision, which upgrades the one before it.
Alembic is imported only when there is something to migrate. A new database is created from `schema` directly.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from app.catalog.schema import metadata

REVISIONS = ("0001", "0002", "0003", "0004")
"""The revisions in `migrations/versions`, oldest first. Repeated here so that comparing them needs no Alembic."""
BASELINE, HEAD = REVISIONS[0], REVISIONS[-1]

version_table = sa.Table(
    "alembic_version",  # as Alembic creates it
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

_LOCK = 0x5E610075
"""The key of the Postgres advisory lock that is held during an upgrade."""

_alembic = threading.Lock()
"""Alembic's `context` and `op` are global, so one thread migrates at a time."""


def revision(connection: sa.Connection) -> str | None:
    """The revision of a database, None if it has no tables. A catalog without a table of revisions was made before
    there were any: it is at `BASELINE`."""
    tables = set(sa.inspect(connection).get_table_names())
    if version_table.name in tables:
        return ", ".join(connection.scalars(sa.select(version_table.c.version_num)))
    return BASELINE if tables else None


def upgrade(connection: sa.Connection, before: Callable[[str | None], None]) -> None:
    """Create the schema, or upgrade it to `HEAD`, within the caller's transaction: completely or not at all.

    One process at a time: on SQLite the transaction must hold the write lock (`BEGIN IMMEDIATE`); on Postgres an
    advisory lock is taken. If there is anything to do, `before` is called with the revision found: it makes the backup,
    or raises to refuse.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    found = revision(connection)
    if found == HEAD:
        return
    before(found)
    if found is None:
        metadata.create_all(connection)
        stamp(connection, HEAD)
        return
    if not sa.inspect(connection).has_table(version_table.name):
        stamp(connection, found)
    migrate(connection)


def stamp(connection: sa.Connection, new: str) -> None:
    """Write the revision of a database that has no table of revisions yet."""
    version_table.create(connection)
    connection.execute(sa.insert(version_table).values(version_num=new))


def migrate(connection: sa.Connection) -> None:
    """Run the migrations from a database's revision to `HEAD`, within the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    scripts = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _alembic:
        command.upgrade(config, "head")


def missing_columns(connection: sa.Connection) -> list[str]:
    """The tables, and columns as "table.column", of `schema` that a database lacks."""
    found = {
        table: {column["name"] for column in columns}
        for (_, table), columns in sa.inspect(connection).get_multi_columns().items()
    }
    absent = [name for name in metadata.tables if name not in found]
    for name in found.keys() & metadata.tables.keys():
        absent += [f"{name}.{column.name}" for column in metadata.tables[name].c if column.name not in found[name]]
    return absent


def corruption(connection: sa.Connection) -> str:
    """The first problem that SQLite finds in the file's pages, "" if there is none. Reads the whole file."""
    found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
    return "" if found == "ok" else found
