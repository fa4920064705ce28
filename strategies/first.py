"""The archive's own order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest

from app.core.pool import Pick, Pool
from app.core.ranking import MAX_PICKS


@dataclass(frozen=True)
class First:
    """The first case of the archive's listing that has no label."""

    def rank(self, pool: Pool) -> Sequence[Pick]:
        best = nsmallest(MAX_PICKS, pool.candidates, key=lambda c: c.order)
        return [Pick(c.case_id, "first in the archive's order") for c in best]
