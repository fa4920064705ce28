"""What runs say together: areas under learning curves, and paired differences with bootstrap intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from app.simulation.learning.replay import Round

Curves = Mapping[str, Mapping[int, Sequence[Round]]]
"""The rounds of each run, by strategy and seed."""

RESAMPLES = 10_000
CONFIDENCE = 0.95
_POWER_FACTOR = (1.960 + 0.842) ** 2
"""For a two-sided test at 5 % with a power of 80 %: squared sum of the normal quantiles."""


def curves_of(rounds: Sequence[Round]) -> Curves:
    curves: dict[str, dict[int, list[Round]]] = defaultdict(lambda: defaultdict(list))
    for one in sorted(rounds, key=lambda one: (one.seed, one.number)):
        curves[one.strategy][one.seed].append(one)
    return {strategy: dict(runs) for strategy, runs in curves.items()}


def area_under(run: Sequence[Round]) -> float:
    """The mean Dice of a run over its numbers of labels: the area under its learning curve by the trapezoid rule,
    divided by its width."""
    labels, dices = [one.labels for one in run], [one.dice for one in run]
    width = labels[-1] - labels[0]
    return float(np.trapezoid(dices, labels)) / width if width else dices[0]


@dataclass(frozen=True)
class Difference:
    """One strategy minus another, paired by seed, in the area under the curve or in the final Dice.

    `low` and `high` are the bootstrap interval of the mean over the seeds (percentiles); equal to the mean with a
    single seed, of which nothing can be said. `needed` is about how many seeds it takes to tell this mean from zero.
    """

    mean: float
    low: float
    high: float
    wins: int
    seeds: int
    needed: int

    @property
    def verdict(self) -> str:
        if self.seeds > 1 and self.low > 0:
            return "better"
        if self.seeds > 1 and self.high < 0:
            return "worse"
        return f"undecided; about {self.needed} seeds" if self.needed else "undecided"


def difference(pairs: Sequence[tuple[float, float]]) -> Difference:
    """From `(one, other)` for each seed. Raises `ValueError` without any."""
    if not pairs:
        raise ValueError("no seed was run with both strategies")
    values = np.array([one - other for one, other in pairs])
    mean = float(values.mean())
    low, high = bootstrap_interval(values)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    needed = ceil(_POWER_FACTOR * (spread / mean) ** 2) if mean and spread else 0
    return Difference(mean, low, high, int((values > 0).sum()), len(values), needed)


def bootstrap_interval(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean (Efron 1979), with a fixed seed."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (RESAMPLES, len(values))).mean(axis=1)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)


def compared(curves: Curves, one: str, other: str) -> tuple[Difference, Difference]:
    """The differences in area and in final Dice over the seeds that both strategies were run with."""
    seeds = sorted(curves[one].keys() & curves[other].keys())
    areas = [(area_under(curves[one][seed]), area_under(curves[other][seed])) for seed in seeds]
    finals = [(curves[one][seed][-1].dice, curves[other][seed][-1].dice) for seed in seeds]
    return difference(areas), difference(finals)
