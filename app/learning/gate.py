"""The gate: whether a candidate may replace the served version. Pure; both are measured on the same cases.

It decides from differences of Dice, patient by patient: how much two versions differ says little without how much that
varies between patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.90
"""Of the two-sided intervals; their lower ends are one-sided bounds at 95 %."""
RESAMPLES = 5000


@dataclass(frozen=True)
class Found:
    """The Dice of one structure in one validation case. For an interactive model that is the mean of the Dice after
    each of a few numbers of clicks, which `after_clicks` has."""

    patient: str
    case_id: str
    structure: str
    dice: float
    after_clicks: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """A version on `cases` validation cases; a case without any of the structures adds nothing to `found`."""

    found: Sequence[Found]
    cases: int

    @cached_property
    def dice(self) -> Mapping[str, float]:
        """Mean Dice, 0..1, by structure, over the cases."""
        values: dict[str, list[float]] = {}
        for one in self.found:
            values.setdefault(one.structure, []).append(one.dice)
        return {name: float(np.mean(some)) for name, some in values.items()}

    @cached_property
    def after_clicks(self) -> Mapping[int, float]:
        """Mean Dice by number of clicks, over the structures of all cases; empty for an automatic model."""
        counts = sorted({clicks for one in self.found for clicks in one.after_clicks})
        return {n: float(np.mean([one.after_clicks[n] for one in self.found if n in one.after_clicks])) for n in counts}

    @property
    def mean(self) -> float:
        return sum(self.dice.values()) / len(self.dice) if self.dice else 0.0

    @property
    def patients(self) -> int:
        return len({one.patient for one in self.found})


@dataclass(frozen=True)
class Rule:
    """The settings `learning.tolerance`, `learning.class_tolerance` and `learning.gate_patients`."""

    tolerance: float
    class_tolerance: float
    patients: int


@dataclass(frozen=True)
class Verdict:
    publish: bool
    reason: str


@dataclass(frozen=True)
class Interval:
    """The mean of paired differences, candidate minus served, with its bootstrap interval over `patients`."""

    mean: float
    low: float
    high: float
    patients: int

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def judge(candidate: Measured, served: Measured | None, rule: Rule) -> Verdict:
    """Publish a candidate that is shown not to be worse than `served`.

    That is: the lower end of the interval of its mean Dice over the common structures is at most `tolerance` below that
    of `served`, and no structure has lost more than `class_tolerance` on average. A structure's loss that may be chance
    (its interval reaches 0, of at least `patients` patients) doesn't count.

    With fewer than `patients` validation patients nothing can be shown, and a person has to publish. The first version
    (`served` None) is published if it finds anything, or if there is nothing to measure it on.
    """
    if served is None:
        if candidate.cases == 0:
            return Verdict(True, "the first version; no validation patients yet to measure it on")
        if candidate.mean > 0:
            return Verdict(True, f"the first version; mean Dice {candidate.mean:.3f}")
        return Verdict(False, "it finds nothing in the validation cases")
    if candidate.cases == 0:
        return Verdict(False, "no validation patients yet, so nothing to compare on; a person may publish it")
    structures = [name for name in candidate.dice if name in served.dice]
    if not structures:
        said = f"the served version knows none of its structures; mean Dice {candidate.mean:.3f}"
        enough = candidate.patients >= rule.patients
        return Verdict(enough, said if enough else f"{said}; {_too_few(candidate.patients, rule)}")
    new = sum(candidate.dice[name] for name in structures) / len(structures)
    old = sum(served.dice[name] for name in structures) / len(structures)
    differences = _differences(candidate, served, structures)
    overall = interval(differences)
    said = f"mean Dice {new:.3f}, served version {old:.3f}, on {candidate.cases} cases; difference {overall}"
    # Differences by rounding must not decide.
    worse = overall.high < -1e-9 or overall.mean < -rule.tolerance - 1e-9
    if overall.patients < rule.patients:
        return Verdict(False, f"{'worse: ' if worse else ''}{said}; {_too_few(overall.patients, rule)}")
    if overall.low < -rule.tolerance - 1e-9:
        return Verdict(False, f"worse: {said}" if worse else f"it may be worse: {said}; a person may publish it")
    for column, name in enumerate(structures):
        lost = interval(differences[:, [column]])
        chance = lost.patients >= rule.patients and lost.high >= 0
        if lost.mean < -rule.class_tolerance - 1e-9 and not chance:
            return Verdict(False, f"{name} fell from {served.dice[name]:.3f} to {candidate.dice[name]:.3f}; {said}")
    return Verdict(True, said)


def interval(differences: NDArray[np.float64]) -> Interval:
    """From differences `(patient, structure)`, NaN where a patient hasn't got a structure: the mean over structures of
    the mean over patients, with its percentile bootstrap interval (Efron and Tibshirani 1993) over patients."""
    there = ~np.isnan(differences)
    differences, there = differences[there.any(axis=1)], there[there.any(axis=1)]
    patients = len(differences)
    if patients == 0:
        return Interval(0.0, 0.0, 0.0, 0)
    rng = np.random.default_rng(0)
    times = rng.multinomial(patients, np.full(patients, 1 / patients), RESAMPLES)
    times = np.concatenate([np.ones((1, patients), int), times])  # the first row: everybody once
    counts = times @ there
    sums = times @ np.where(there, differences, 0.0)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    means = np.nanmean(means, axis=1)
    low, high = np.percentile(means[1:], [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Interval(float(means[0]), float(low), float(high), patients)


def _differences(candidate: Measured, served: Measured, structures: Sequence[str]) -> NDArray[np.float64]:
    """Candidate minus served `(patient, structure)`, the mean over a patient's cases; NaN where there is none."""
    before = {(one.case_id, one.structure): one.dice for one in served.found}
    patients = sorted({one.patient for one in candidate.found})
    values: dict[tuple[int, int], list[float]] = {}
    for one in candidate.found:
        if one.structure in structures and (one.case_id, one.structure) in before:
            place = patients.index(one.patient), structures.index(one.structure)
            values.setdefault(place, []).append(one.dice - before[one.case_id, one.structure])
    answer = np.full((len(patients), len(structures)), np.nan)
    for place, some in values.items():
        answer[place] = np.mean(some)
    return answer


def _too_few(patients: int, rule: Rule) -> str:
    return f"{patients} of the {rule.patients} validation patients it takes to decide, so a person has to publish it"
