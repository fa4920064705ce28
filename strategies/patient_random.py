"""Random order, new patients first: the baseline for other strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.pool import Pick, Pool
from app.core.ranking import patient_random


@dataclass(frozen=True)
class PatientRandom:
    """A random case of a patient of whom nothing is labelled yet."""

    def rank(self, pool: Pool) -> Sequence[Pick]:
        return patient_random(pool)
