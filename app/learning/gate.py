"""The gate: whether a candidate may replace the served version. Pure; both are measured on the same cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """Mean Dice, 0..1, by structure that is labelled in any of the `cases` validation cases."""

    dice: Mapping[str, float]
    cases: int

    @property
    def mean(self) -> float:
        return sum(self.dice.values()) / len(self.dice) if self.dice else 0.0


@dataclass(frozen=True)
class Verdict:
    publish: bool
    reason: str


def judge(candidate: Measured, served: Measured | None, tolerance: float, class_tolerance: float) -> Verdict:
    """Publish unless the candidate is worse.

    Worse means: its mean Dice over the common structures is more than `tolerance` below that of `served`, or that of
    one structure more than `class_tolerance`. Without a `served` version any Dice above 0 is enough.
    """
    if candidate.cases == 0:
        return Verdict(True, "no validation patients yet, so nothing to compare on")
    if served is None:
        if candidate.mean > 0:
            return Verdict(True, f"the first version; mean Dice {candidate.mean:.3f}")
        return Verdict(False, "it finds nothing in the validation cases")
    both = [name for name in candidate.dice if name in served.dice]
    if not both:
        return Verdict(True, f"the served version knows none of its structures; mean Dice {candidate.mean:.3f}")
    new = sum(candidate.dice[name] for name in both) / len(both)
    old = sum(served.dice[name] for name in both) / len(both)
    said = f"mean Dice {new:.3f}, served version {old:.3f}, on {candidate.cases} cases"
    # Differences by rounding must not decide.
    if new < old - tolerance - 1e-9:
        return Verdict(False, f"worse: {said}")
    lost = {name: served.dice[name] - candidate.dice[name] for name in both}
    worst = max(lost, key=lambda name: lost[name])
    if lost[worst] > class_tolerance + 1e-9:
        return Verdict(False, f"{worst} fell from {served.dice[worst]:.3f} to {candidate.dice[worst]:.3f}; {said}")
    return Verdict(True, said)
