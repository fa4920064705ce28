"""Model versions: immutable weights. *Served* is a pointer to one per model."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from app.catalog.audit import Audit
from app.catalog.database import Database
from app.catalog.schema import model_version, served
from app.core.model import ModelVersion
from app.errors import Conflict, UnknownModel


class Versions:
    def __init__(self, database: Database, audit: Audit) -> None:
        self._database = database
        self._audit = audit

    def next_number(self, model: str) -> int:
        query = sa.select(sa.func.max(model_version.c.number)).where(model_version.c.model == model)
        with self._database.read() as connection:
            return int(connection.scalar(query) or 0) + 1

    def add(self, version: ModelVersion, serve: bool, who: str) -> None:
        """Register a version whose folder is complete; with `serve`, also serve it, in the same transaction.

        Raises `Conflict` if the number is taken, or if the job already has a version.
        """
        with self._database.write() as connection:
            try:
                values = {**vars(version), "metrics": dict(version.metrics), "label_ids": list(version.label_ids)}
                connection.execute(sa.insert(model_version).values(**values))
            except sa.exc.IntegrityError as error:
                raise Conflict(f"there is a version {version.id} already") from error
            if serve:
                _point(connection, version.model, version.id)
            detail = {"state": version.state, "reason": version.reason, "served": serve}
            self._audit.record(connection, who, "model.version", version.id, detail)

    def get(self, version_id: str) -> ModelVersion:
        query = sa.select(model_version).where(model_version.c.id == version_id)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise UnknownModel(f"no model version {version_id!r}; `segloop models list` shows what there is")
        return _version(row)

    def listed(self, model: str | None = None) -> list[ModelVersion]:
        """Newest first."""
        query = sa.select(model_version).order_by(model_version.c.created.desc(), model_version.c.number.desc())
        if model is not None:
            query = query.where(model_version.c.model == model)
        with self._database.read() as connection:
            return [_version(row) for row in connection.execute(query)]

    def served(self, model: str) -> ModelVersion | None:
        query = (
            sa.select(model_version).join(served, served.c.version == model_version.c.id).where(served.c.model == model)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return _version(row) if row is not None else None

    def serve(self, version_id: str, who: str) -> ModelVersion:
        """Serve this version of its model (manual publishing, rollback)."""
        version = self.get(version_id)
        with self._database.write() as connection:
            before = connection.scalar(sa.select(served.c.version).where(served.c.model == version.model))
            _point(connection, version.model, version.id)
            self._audit.record(connection, who, "model.serve", version.id, {"before": before})
        return version

    def by_job(self, job_id: str) -> ModelVersion | None:
        query = sa.select(model_version).where(model_version.c.job_id == job_id).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return _version(row) if row is not None else None


def _point(connection: sa.Connection, model: str, version_id: str) -> None:
    connection.execute(sa.delete(served).where(served.c.model == model))
    connection.execute(sa.insert(served).values(model=model, version=version_id, since=time.time()))


def _version(row: sa.Row[Any]) -> ModelVersion:
    return ModelVersion(**{name: row._mapping[name] for name in ModelVersion.__dataclass_fields__})
