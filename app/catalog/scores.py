"""Scores of cases. One row per case, scorer and model version; the newest counts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from app.catalog.database import Database
from app.catalog.schema import score
from app.core.case import CaseScore
from app.core.pool import Score


class Scores:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[tuple[Any, ...], Mapping[str, Score]]] = {}

    def put(
        self, case_id: str, scorer: str, model_version: str, value: float, seconds: float, detail: Mapping[str, Any]
    ) -> None:
        """Store a score, replacing one with the same case, scorer and model version."""
        key = {"case_id": case_id, "scorer": scorer, "model_version": model_version}
        with self._database.write() as connection:
            connection.execute(sa.delete(score).filter_by(**key))
            row = {"value": value, "seconds": seconds, "detail": dict(detail), "created": time.time()}
            connection.execute(sa.insert(score).values(**key, **row))

    def newest(self, scorer: str) -> Mapping[str, Score]:
        """The newest score of every case that has one, by case id. Cached until there is a new score."""
        mine = score.c.scorer == scorer
        changed = sa.select(sa.func.count(), sa.func.max(score.c.created)).where(mine)
        why = sa.func.coalesce(score.c.detail["why"].as_string(), "")
        columns = (score.c.case_id, score.c.value, score.c.model_version, why)
        query = sa.select(*columns).where(mine).order_by(score.c.created)
        with self._database.read() as connection:
            stamp = tuple(connection.execute(changed).one())
            known = self._known.get(scorer)
            if known is not None and known[0] == stamp:
                return known[1]
            # In chronological order, so that later scores of a case replace earlier ones.
            found = {row[0]: Score(row[1], row[2], row[3]) for row in connection.execute(query).all()}
        self._known[scorer] = stamp, found
        return found

    def dated(self, scorer: str) -> dict[str, tuple[Score, float]]:
        """The newest score of every case that has one, and its time (seconds since the epoch), by case id."""
        query = sa.select(score).where(score.c.scorer == scorer).order_by(score.c.created)
        with self._database.read() as connection:
            return {
                row.case_id: (Score(row.value, row.model_version), row.created) for row in connection.execute(query)
            }

    def scorers(self) -> list[str]:
        with self._database.read() as connection:
            return list(connection.scalars(sa.select(score.c.scorer).distinct().order_by(score.c.scorer)))

    def details(self, scorer: str) -> dict[str, CaseScore]:
        """The newest score of every case that has one, with its details, by case id."""
        query = sa.select(score).where(score.c.scorer == scorer).order_by(score.c.created)
        with self._database.read() as connection:
            return {row.case_id: _case_score(row) for row in connection.execute(query)}

    def of_case(self, case_id: str) -> list[CaseScore]:
        """Every score of one case, newest first."""
        query = sa.select(score).where(score.c.case_id == case_id).order_by(score.c.created.desc(), score.c.scorer)
        with self._database.read() as connection:
            return [_case_score(row) for row in connection.execute(query)]

    def detail(self, case_id: str) -> dict[str, dict[str, Any]]:
        """The newest details of each scorer about one case."""
        query = sa.select(score).where(score.c.case_id == case_id).order_by(score.c.created)
        with self._database.read() as connection:
            return {
                r.scorer: {"value": r.value, "model_version": r.model_version, **r.detail}
                for r in connection.execute(query)
            }


def _case_score(row: sa.Row[Any]) -> CaseScore:
    return CaseScore(row.scorer, row.model_version, row.value, row.detail, row.created, row.seconds)
