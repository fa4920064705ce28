"""Patients who are kept for validation because somebody had to be: rows of the table `note`."""

from __future__ import annotations

import time
from collections.abc import Iterable

import sqlalchemy as sa

from app.catalog.database import Database
from app.catalog.schema import note

_PREFIX = "validation.patient:"


class Reservations:
    """Patient keys (`Case.patient_key`). None is ever taken back: no model may be measured on what another learnt."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def patients(self) -> frozenset[str]:
        query = sa.select(note.c.key).where(note.c.key.startswith(_PREFIX, autoescape=True))
        with self._database.read() as connection:
            return frozenset(key.removeprefix(_PREFIX) for key in connection.scalars(query))

    def add(self, patients: Iterable[str]) -> None:
        """Reserve patients; those that are reserved already stay so."""
        with self._database.write() as connection:
            known = frozenset(connection.scalars(sa.select(note.c.key)))
            for patient in patients:
                if _PREFIX + patient not in known:
                    connection.execute(sa.insert(note).values(key=_PREFIX + patient, value=str(time.time())))
