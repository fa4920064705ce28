"""A scenario that takes seconds, and runs with known results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.simulation.learning.replay import Round
from app.simulation.learning.scenarios import REDUNDANT, Labelling, Learner, Phantoms

TINY = replace(
    REDUNDANT,
    name="tiny",
    phantoms=Phantoms(
        patients=4,
        cases=7,
        followed_up=1,
        test_lesions=2,
        acquisitions=tuple(replace(one, test_cases=1) for one in REDUNDANT.phantoms.acquisitions),  # type: ignore[union-attr]
    ),
    labelling=Labelling(first=2, per_round=2, rounds=2),
    learner=Learner(
        options={"patch": "8,16,16", "features": "4,8", "spacing": "0,0,0", "steps_per_epoch": 2},
        first_epochs=1,
        epochs=1,
    ),
)


def run(strategy: str, seed: int, dices: Sequence[float], shared: bool = False) -> list[Round]:
    """A round with each Dice, after 4, 8, ... labels."""
    return [
        Round(strategy, seed, n, 4 * (n + 1), 2 * n, 100 * n, dice, {"liver": dice}, shared and n > 0, 0.5, 2.0)
        for n, dice in enumerate(dices)
    ]
