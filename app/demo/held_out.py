"""Patients the server never sees among its cases: the honest measure of what its models have learned.

Their images travel with each question, so they are no cases, nobody is offered them, and no model is trained on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from app.core.volume import Volume
from app.demo.anatomy import STRUCTURES
from app.demo.annotator import mean_dice
from app.demo.client import Client
from app.demo.phantoms import Truth, scanned
from app.demo.plan import planned

_OTHER_SEED = 7919
"""Added to the demo's seed: no patient is in both."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    volume: Volume
    truth: Truth


def held_out(patients: int, seed: int) -> list[HeldOut]:
    """One series each of so many patients."""
    studies = [study for study in planned(patients, seed + _OTHER_SEED) if study.visit == 0]
    cases = []
    for study in studies:
        hu, labelmap = scanned(study)
        cases.append(HeldOut(Volume(hu, study.geometry, "CT"), Truth(labelmap, STRUCTURES, study.geometry)))
    return cases


def measure(client: Client, model: str, cases: Sequence[HeldOut], names: tuple[str, ...]) -> float | None:
    """Mean Dice of a model's automatic segmentation; None while it isn't trained. Raises `Refused`."""
    reached = []
    for case in cases:
        segmented = client.segment_volume(model, case.volume)
        if segmented is None:
            return None
        reached.append(mean_dice(segmented, case.truth, names))
    return mean(reached) if reached else None
