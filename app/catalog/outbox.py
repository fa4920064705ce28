"""The outbox: labels that are stored here and not yet confirmed by the archive.

waiting ──> delivered
   ^ └────> refused     a permanent error: the label stays stored here, and isn't retried automatically
   └───────────┘        a user requested a retry
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from app.catalog.database import Database
from app.catalog.schema import label, outbox
from app.core.label import DeliveryState, OutboxState, PendingDelivery
from app.errors import Conflict, UnknownLabel


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, now: float, limit: int = 50) -> list[tuple[int, int]]:
        """`(label id, attempts so far)` of labels that are due for delivery, oldest first."""
        query = (
            sa.select(outbox.c.label_id, outbox.c.attempts)
            .where(outbox.c.state == "waiting", outbox.c.next_try <= now)
            .order_by(outbox.c.label_id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(row.label_id, row.attempts) for row in connection.execute(query)]

    def waiting(self, limit: int = 50) -> list[PendingDelivery]:
        """Labels waiting for delivery, oldest first."""
        return self._listed(outbox.c.state == "waiting", limit)

    def refusals(self, limit: int = 50) -> list[PendingDelivery]:
        """Labels that the archive refused, oldest first."""
        return self._listed(outbox.c.state == "refused", limit)

    def undelivered(self, limit: int) -> list[PendingDelivery]:
        """Waiting and refused labels, oldest first."""
        return self._listed(outbox.c.state != "delivered", limit)

    def delivered(self, label_id: int, location: str) -> None:
        self._set(label_id, state="delivered", location=location, delivered=time.time(), error="")

    def failed(self, label_id: int, error: str, next_try: float) -> None:
        """Record a temporary failure. The next attempt is due at `next_try` (seconds since the epoch)."""
        self._set(label_id, attempts=outbox.c.attempts + 1, error=_one_line(error)[:1000], next_try=next_try)

    def refused(self, label_id: int, reason: str, advice: str) -> None:
        """Record a permanent failure. A user has to follow `advice` and request a retry."""
        attempts, error = outbox.c.attempts + 1, _one_line(reason)[:1000]
        self._set(label_id, state="refused", attempts=attempts, error=error, advice=_one_line(advice))

    def retry(self, label_id: int) -> PendingDelivery:
        """Make a label due now. Raises `UnknownLabel`, also for labels that aren't delivered at all, and `Conflict` if
        the archive already has it."""
        with self._database.write() as connection:
            state = connection.scalar(sa.select(outbox.c.state).where(outbox.c.label_id == label_id))
            if state is None:
                raise UnknownLabel(f"no label number {label_id} goes to the archive")
            if state == "delivered":
                raise Conflict(f"the archive has label number {label_id} already")
            mine = sa.update(outbox).where(outbox.c.label_id == label_id)
            connection.execute(mine.values(state="waiting", next_try=time.time(), advice=""))
            row = connection.execute(_LISTED.where(outbox.c.label_id == label_id)).one()
        return _waiting(row)

    def retry_all(self) -> int:
        """Make all refused labels due now; returns how many."""
        with self._database.write() as connection:
            refused = sa.update(outbox).where(outbox.c.state == "refused")
            return connection.execute(refused.values(state="waiting", next_try=time.time(), advice="")).rowcount

    def hurry(self, label_ids: Collection[int]) -> None:
        """Make these labels due now, those of them that wait for delivery."""
        waiting = sa.update(outbox).where(outbox.c.state == "waiting")
        with self._database.write() as connection:
            for label_id in label_ids:
                connection.execute(waiting.where(outbox.c.label_id == label_id).values(next_try=0.0))

    def retry_now(self) -> None:
        """Make all waiting labels due now, because the archive is reachable again."""
        with self._database.write() as connection:
            connection.execute(sa.update(outbox).where(outbox.c.state == "waiting").values(next_try=0.0))

    def state(self) -> OutboxState:
        with self._database.read() as connection:
            counts: dict[str, int] = dict(
                connection.execute(sa.select(outbox.c.state, sa.func.count()).group_by(outbox.c.state)).all()
            )
            last = connection.execute(
                sa.select(outbox.c.error, label.c.created)
                .join(label, label.c.id == outbox.c.label_id)
                .where(outbox.c.state == "waiting")
                .order_by(label.c.created)
                .limit(1)
            ).one_or_none()
        oldest = max(0.0, time.time() - last.created) if last else 0.0
        return OutboxState(
            waiting=counts.get("waiting", 0),
            delivered=counts.get("delivered", 0),
            refused=counts.get("refused", 0),
            oldest=oldest,
            error=last.error if last else "",
        )

    def states(self, label_ids: Collection[int]) -> dict[int, DeliveryState]:
        """The state by label id, for those of `label_ids` that are delivered to the archive."""
        low, high = min(label_ids, default=0), max(label_ids, default=0)
        # A range instead of a list, because databases limit the number of parameters.
        query = sa.select(outbox.c.label_id, outbox.c.state).where(outbox.c.label_id.between(low, high))
        wanted = set(label_ids)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return {row.label_id: row.state for row in rows if row.label_id in wanted}

    def _listed(self, which: sa.ColumnElement[bool], limit: int) -> list[PendingDelivery]:
        query = _LISTED.where(which).order_by(outbox.c.label_id).limit(limit)
        with self._database.read() as connection:
            return [_waiting(row) for row in connection.execute(query)]

    def _set(self, label_id: int, **values: object) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(outbox).where(outbox.c.label_id == label_id).values(**values))


_LISTED = sa.select(
    outbox.c.label_id,
    outbox.c.state,
    outbox.c.attempts,
    outbox.c.error,
    outbox.c.advice,
    outbox.c.next_try,
    label.c.created,
).join(label, label.c.id == outbox.c.label_id)


def _waiting(row: sa.Row[*tuple[Any, ...]]) -> PendingDelivery:
    return PendingDelivery(**row._mapping)


def _one_line(text: str) -> str:
    return " ".join(text.split())
