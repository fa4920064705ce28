"""Uncertainty sampling by the disagreement of a model's snapshots (mutual information, arXiv 1112.5745)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from app.core.pool import Pick, Pool
from app.core.ranking import most_uncertain


@dataclass(frozen=True)
class Epistemic:
    """The case on which snapshots of the model disagree most."""

    scorers: ClassVar[tuple[str, ...]] = ("epistemic",)

    model: str

    def rank(self, pool: Pool) -> Sequence[Pick]:
        return most_uncertain(pool, f"epistemic:{self.model}", "disagreement")
