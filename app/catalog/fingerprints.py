"""Digests of cases' voxels, by which images that viewers send are matched to cases."""

from __future__ import annotations

import sqlalchemy as sa

from app.catalog.database import Database
from app.catalog.schema import case, fingerprint


class Fingerprints:
    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, case_id: str, stamp: str, value: str) -> None:
        """Store the digest of a case's voxels for its `stamp`."""
        with self._database.write() as connection:
            connection.execute(sa.delete(fingerprint).where(fingerprint.c.case_id == case_id))
            connection.execute(sa.insert(fingerprint).values(case_id=case_id, stamp=stamp, value=value))

    def cases_with(self, value: str) -> list[str]:
        """Ids of archive cases whose voxels have this digest."""
        query = (
            sa.select(case.c.id)
            .join(fingerprint, sa.and_(fingerprint.c.case_id == case.c.id, fingerprint.c.stamp == case.c.stamp))
            .where(fingerprint.c.value == value, case.c.gone.is_(False), case.c.origin == "archive")
            .order_by(case.c.position)
        )
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def unknown(self) -> list[str]:
        """Ids of archive cases without a current digest, the most recently offered first."""
        known = sa.exists().where(fingerprint.c.case_id == case.c.id, fingerprint.c.stamp == case.c.stamp)
        query = (
            sa.select(case.c.id)
            .where(case.c.gone.is_(False), case.c.origin == "archive", case.c.problem == "", ~known)
            .order_by(case.c.served.desc(), case.c.position)
        )
        with self._database.read() as connection:
            return list(connection.scalars(query))
