"""Who holds which case. Two people never hold the same one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from app.catalog.cases import mark_served
from app.catalog.database import Database
from app.catalog.schema import case, lease
from app.core.case import Lease
from app.core.pool import Pick


class Leases:
    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(
        self, holder: str, strategy: str, now: float, seconds: float, choose: Callable[[frozenset[str]], Sequence[Pick]]
    ) -> Lease | None:
        """Give `holder` the first case that `choose` names and nobody holds; None if there is none.

        `choose` gets the ids that are held by others. It runs inside the transaction that writes the lease, so that
        two annotators who ask at the same moment get two cases. A holder who asks again gets the case held already.
        That the strategy offered the case is noted on it.
        """
        with self._database.write() as connection:
            connection.execute(sa.delete(lease).where(lease.c.expires <= now))
            # A case completed or gone since it was leased is no longer worth coming back to.
            mine = connection.execute(
                sa.select(lease)
                .join(case, case.c.id == lease.c.case_id)
                .where(lease.c.holder == holder, case.c.completed.is_(False), case.c.gone.is_(False))
                .limit(1)
            ).one_or_none()
            if mine is not None:
                connection.execute(
                    sa.update(lease).where(lease.c.case_id == mine.case_id).values(expires=now + seconds)
                )
                mark_served(connection, mine.case_id, strategy, holder)
                return Lease(mine.case_id, holder, mine.strategy, mine.reason, now + seconds)
            held = frozenset(connection.scalars(sa.select(lease.c.case_id)))
            pick = next((p for p in choose(held) if p.case_id not in held), None)
            if pick is None:
                return None
            row = Lease(pick.case_id, holder, strategy, pick.reason, now + seconds)
            connection.execute(sa.insert(lease).values(**vars(row)))
            mark_served(connection, row.case_id, strategy, holder)
            return row

    def renew(self, case_id: str, holder: str, expires: float) -> None:
        """Move the end of a lease that `holder` has; nothing happens if they don't have it."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(lease).where(lease.c.case_id == case_id, lease.c.holder == holder).values(expires=expires)
            )

    def release(self, case_id: str, holder: str | None = None) -> None:
        """End a lease, whoever has it; with a `holder` only if they have it."""
        which = lease.c.case_id == case_id
        if holder is not None:
            which = sa.and_(which, lease.c.holder == holder)
        with self._database.write() as connection:
            connection.execute(sa.delete(lease).where(which))

    def held(self, now: float) -> list[Lease]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(lease).where(lease.c.expires > now)).all()
        return [Lease(r.case_id, r.holder, r.strategy, r.reason, r.expires) for r in rows]
