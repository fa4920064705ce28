"""Uncertainty sampling by entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.pool import Pick, Pool
from app.core.ranking import most_uncertain


@dataclass(frozen=True)
class Entropy:
    """The case whose predicted structures have the highest entropy."""

    model: str

    def rank(self, pool: Pool) -> Sequence[Pick]:
        return most_uncertain(pool, f"entropy:{self.model}", "entropy")
