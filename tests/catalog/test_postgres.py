"""The migrations on Postgres: the same schema, and one process at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from app.catalog import upgrade
from app.catalog.migrations.versions import v0001_baseline
from app.catalog.schema import case, label, metadata, outbox
from tests import postgres


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    try:
        with postgres.running() as address:
            yield address
    except postgres.PostgresMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def engine(server: str) -> Iterator[sa.Engine]:
    """An empty database."""
    engine = sa.create_engine(server)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    yield engine
    engine.dispose()


def differences(connection: sa.Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def test_migrations_make_exactly_the_schema(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        upgrade.migrate(connection)
        assert differences(connection) == []
        assert upgrade.missing_columns(connection) == []
        assert upgrade.revision(connection) == upgrade.HEAD


def test_new_database_is_made_from_the_schema(engine: sa.Engine) -> None:
    found: list[str | None] = []
    for _ in range(2):
        with engine.begin() as connection:
            upgrade.upgrade(connection, found.append)
            assert differences(connection) == []
    assert found == [None]


def test_one_of_several_upgrades_a_catalog_from_before_revisions(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        v0001_baseline.metadata.create_all(connection)
        empty = {"warnings": [], "first_seen": 1.5, "served_by": {}, "info": {}}
        connection.execute(sa.insert(case).values(id="1.2", origin="archive", kind="series", stamp="1", **empty))
        for number, state, error in (
            (1, "refused", "it's 413\nMake room: 50%."),
            (2, "waiting", "away\nold"),
            (3, "delivered", ""),
        ):
            digests = {"sha256": "a", "submitted_sha256": "b", "sop_instance_uid": "2.25.1", "segments": []}
            content = {"case_id": "1.2", "tag": "final", "path": f"{number}.dcm", "info": {}, "created": 2.5, **digests}
            connection.execute(sa.insert(label).values(id=number, number=number, **content))
            connection.execute(sa.insert(outbox).values(label_id=number, state=state, error=error, next_try=3.5))
    together = Barrier(3)
    found: list[str | None] = []

    def slow_backup(revision: str | None) -> None:
        found.append(revision)
        time.sleep(0.5)

    def start() -> None:
        with engine.connect() as connection:
            together.wait(30)
            with connection.begin():
                upgrade.upgrade(connection, slow_backup)

    with ThreadPoolExecutor(3) as pool:
        for started in [pool.submit(start) for _ in range(3)]:
            started.result()
    assert found == [upgrade.BASELINE]
    with engine.connect() as connection:
        columns = (outbox.c.state, outbox.c.error, outbox.c.advice)
        assert connection.execute(sa.select(*columns).order_by(outbox.c.label_id)).all() == [
            ("refused", "it's 413", "Make room: 50%."),
            ("waiting", "away", ""),
            ("delivered", "", ""),
        ]
        assert connection.execute(sa.select(case.c.served_by, case.c.offered)).one() == ({}, True)
        assert differences(connection) == []
