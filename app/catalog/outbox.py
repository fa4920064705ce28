"""Labels acknowledged here and not yet confirmed by the archive."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from app.catalog.database import Database
from app.catalog.schema import label, outbox


@dataclass(frozen=True)
class OutboxState:
    """`oldest` is how many seconds the longest waiting label has waited since it should first have gone."""

    waiting: int
    delivered: int
    oldest: float
    error: str


@dataclass(frozen=True)
class Waiting:
    """A label that the archive doesn't have yet. `error` is why the last of `attempts` tries failed, "" before the
    first; `next_try`, and `created`, when it was made, are in seconds since the epoch."""

    label_id: int
    attempts: int
    error: str
    next_try: float
    created: float


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, now: float, limit: int = 50) -> list[tuple[int, int]]:
        """`(label id, attempts so far)` of what should be delivered now, oldest label first."""
        query = (
            sa.select(outbox.c.label_id, outbox.c.attempts)
            .where(outbox.c.state == "waiting", outbox.c.next_try <= now)
            .order_by(outbox.c.label_id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(row.label_id, row.attempts) for row in connection.execute(query)]

    def waiting(self, limit: int = 50) -> list[Waiting]:
        """What isn't delivered yet, oldest label first."""
        columns = (outbox.c.label_id, outbox.c.attempts, outbox.c.error, outbox.c.next_try, label.c.created)
        made = sa.select(*columns).join(label, label.c.id == outbox.c.label_id)
        query = made.where(outbox.c.state == "waiting").order_by(outbox.c.label_id).limit(limit)
        with self._database.read() as connection:
            return [Waiting(*row) for row in connection.execute(query)]

    def delivered(self, label_id: int, location: str) -> None:
        self._set(label_id, state="delivered", location=location, delivered=time.time(), error="")

    def failed(self, label_id: int, error: str, next_try: float) -> None:
        """The archive didn't take it; it is tried again at `next_try`, for ever."""
        self._set(label_id, attempts=outbox.c.attempts + 1, error=error[:1000], next_try=next_try)

    def hurry(self) -> None:
        """Try everything that waits at once (the archive is back)."""
        with self._database.write() as connection:
            connection.execute(sa.update(outbox).where(outbox.c.state == "waiting").values(next_try=0.0))

    def state(self) -> OutboxState:
        with self._database.read() as connection:
            counts: dict[str, int] = dict(
                connection.execute(sa.select(outbox.c.state, sa.func.count()).group_by(outbox.c.state)).all()
            )
            last = connection.execute(
                sa.select(outbox.c.error, outbox.c.next_try)
                .where(outbox.c.state == "waiting")
                .order_by(outbox.c.label_id)
                .limit(1)
            ).one_or_none()
        oldest = max(0.0, time.time() - last.next_try) if last else 0.0
        return OutboxState(counts.get("waiting", 0), counts.get("delivered", 0), oldest, last.error if last else "")

    def whether_delivered(self, label_ids: Collection[int]) -> dict[int, bool]:
        """By label id, for those of `label_ids` that go to the archive at all."""
        low, high = min(label_ids, default=0), max(label_ids, default=0)
        # A range instead of a list: a database takes only so many parameters.
        query = sa.select(outbox.c.label_id, outbox.c.state).where(outbox.c.label_id.between(low, high))
        wanted = set(label_ids)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return {row.label_id: row.state == "delivered" for row in rows if row.label_id in wanted}

    def _set(self, label_id: int, **values: object) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(outbox).where(outbox.c.label_id == label_id).values(**values))
