"""Random order as in MONAI Label, weighted by the time since a case was last offered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.core.pool import Pick, Pool
from app.core.ranking import MAX_PICKS


@dataclass(frozen=True)
class Random:
    """A random case; the longer it has not been offered, the likelier."""

    def rank(self, pool: Pool) -> Sequence[Pick]:
        waited = pool.now - np.array([c.served for c in pool.candidates], float)
        # Weighted drawing without replacement: the smallest exponential times come first (Efraimidis, Spirakis 2006).
        times = np.random.default_rng(pool.seed).exponential(size=len(waited)) / np.maximum(waited, 1.0)
        return [Pick(pool.candidates[i].case_id, _reason(pool, i)) for i in np.argsort(times)[:MAX_PICKS]]


def _reason(pool: Pool, index: int) -> str:
    served = pool.candidates[index].served
    if served <= 0:
        return "random; never offered before"
    return f"random; last offered {(pool.now - served) / 3600:.1f} h ago"
