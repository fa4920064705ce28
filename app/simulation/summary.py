"""What many simulated clicks say together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.simulation.run import Step
from app.simulation.scores import area_under, surface_of_image

GOOD = 0.85
"""The Dice that counts as reached."""


@dataclass(frozen=True)
class Seconds:
    """Of all prompts that were answered."""

    median: float
    p95: float
    longest: float


@dataclass(frozen=True)
class Summary:
    """`dice` and `surface_dice`: the mean over all structures after each number of clicks (0: after the box).
    `reached`: the share of structures that had a Dice of `GOOD` within so many clicks.

    The others are the challenge's: within an image the mean over its structures, then the mean over images. The area is
    under the last five clicks.
    """

    structures: int
    dice: Mapping[int, float]
    surface_dice: Mapping[int, float]
    reached: Mapping[int, float]
    dice_area: float
    surface_area: float
    final_dice: float
    final_surface: float
    seconds: Seconds
    errors: int


def summarise(steps: Sequence[Step]) -> Summary:
    """Raises `ValueError` without steps."""
    if not steps:
        raise ValueError("nothing was simulated")
    curves = curves_of(steps)
    numbers = sorted({step.number for step in steps})
    images: dict[str, list[tuple[float, float]]] = {}
    for case in sorted({step.case for step in steps}):
        own = [curve for (name, _), curve in curves.items() if name == case]
        dices = [[curve[number].dice for curve in own] for number in numbers]
        surfaces = [[curve[number].surface_dice for curve in own] for number in numbers]
        images[case] = [(float(np.mean(d)), surface_of_image(d, s)) for d, s in zip(dices, surfaces, strict=True)]
    times = [step.seconds for step in steps if step.prompt != "none" and not step.error] or [0.0]
    best = {n: [max(c[m].dice for m in numbers if m <= n) for c in curves.values()] for n in numbers}
    return Summary(
        structures=len(curves),
        dice={n: float(np.mean([c[n].dice for c in curves.values()])) for n in numbers},
        surface_dice={n: float(np.mean([c[n].surface_dice for c in curves.values()])) for n in numbers},
        reached={n: float(np.mean([value >= GOOD for value in best[n]])) for n in numbers},
        dice_area=float(np.mean([area_under([d for d, _ in rows]) for rows in images.values()])),
        surface_area=float(np.mean([area_under([s for _, s in rows]) for rows in images.values()])),
        final_dice=float(np.mean([rows[-1][0] for rows in images.values()])),
        final_surface=float(np.mean([rows[-1][1] for rows in images.values()])),
        seconds=Seconds(float(np.median(times)), float(np.percentile(times, 95)), max(times)),
        errors=sum(bool(step.error) for step in steps),
    )


def curves_of(steps: Sequence[Step]) -> dict[tuple[str, int], dict[int, Step]]:
    """The steps of each structure, by their number."""
    curves: dict[tuple[str, int], dict[int, Step]] = defaultdict(dict)
    for step in steps:
        curves[step.case, step.structure][step.number] = step
    return dict(curves)
