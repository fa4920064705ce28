"""Which annotator holds which case. Two never hold the same one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import sqlalchemy as sa

from app.catalog.cases import mark_served
from app.catalog.database import Database
from app.catalog.schema import case, lease
from app.core.case import CaseClaim
from app.core.pool import Pick


class CaseClaims:
    """The table `lease`: at most one claim per case."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(
        self,
        holder: str,
        strategy: str,
        now: float,
        seconds: float,
        choose: Callable[[frozenset[str]], Sequence[Pick]],
        unseen: Collection[str] = (),
    ) -> CaseClaim | None:
        """Claim for `holder` the first case of `choose` that is free, for `seconds` from `now`; None if there is none.

        `choose` is called with the ids of claimed cases, inside the transaction that writes the claim, so concurrent
        callers get different cases. A holder who already has a claim gets the same case again, with a new expiry,
        unless it is one of `unseen`; a label that somebody submits ends the claim on its case. The offer is recorded on
        the case.
        """
        with self._database.write() as connection:
            connection.execute(sa.delete(lease).where(lease.c.expires <= now))
            # A case that was removed since it was claimed is not offered again.
            held_cases = connection.execute(
                sa.select(lease)
                .join(case, case.c.id == lease.c.case_id)
                .where(lease.c.holder == holder, case.c.gone.is_(False))
            )
            mine = next((one for one in held_cases if one.case_id not in unseen), None)
            if mine is not None:
                connection.execute(
                    sa.update(lease).where(lease.c.case_id == mine.case_id).values(expires=now + seconds)
                )
                mark_served(connection, mine.case_id, strategy, holder)
                return CaseClaim(mine.case_id, holder, mine.strategy, mine.reason, now + seconds)
            held = frozenset(connection.scalars(sa.select(lease.c.case_id)))
            pick = next((p for p in choose(held) if p.case_id not in held), None)
            if pick is None:
                return None
            row = CaseClaim(pick.case_id, holder, strategy, pick.reason, now + seconds)
            connection.execute(sa.insert(lease).values(**vars(row)))
            mark_served(connection, row.case_id, strategy, holder)
            return row

    def renew(self, case_id: str, holder: str, expires: float) -> None:
        """Set a new expiry; a no-op if `holder` has no claim on the case."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(lease).where(lease.c.case_id == case_id, lease.c.holder == holder).values(expires=expires)
            )

    def release(self, case_id: str, holder: str | None = None) -> None:
        """Delete the claim on a case; with a `holder`, only if the claim is theirs."""
        which = lease.c.case_id == case_id
        if holder is not None:
            which = sa.and_(which, lease.c.holder == holder)
        with self._database.write() as connection:
            connection.execute(sa.delete(lease).where(which))

    def held(self, now: float) -> list[CaseClaim]:
        """The claims that haven't expired at `now`."""
        """The claims that haven't expired at `now`."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(lease).where(lease.c.expires > now)).all()
        return [CaseClaim(r.case_id, r.holder, r.strategy, r.reason, r.expires) for r in rows]
