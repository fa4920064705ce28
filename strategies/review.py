"""Looking again at labels that the model contradicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from app.core.pool import Pick, Pool
from app.core.ranking import most_uncertain


@dataclass(frozen=True)
class Review:
    """A labelled case whose label and the model differ most, for a second look."""

    scorers: ClassVar[tuple[str, ...]] = ("review",)
    reviews: ClassVar[bool] = True

    model: str

    def rank(self, pool: Pool) -> Sequence[Pick]:
        return most_uncertain(pool, f"review:{self.model}", "doubt")
