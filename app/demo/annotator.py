"""A simulated annotator who knows the ground truth, and labels by clicks through the MONAI Label API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from app.core.mask import dice
from app.core.volume import Volume
from app.demo.clicks import Click, next_click
from app.demo.client import Client, Refused, Sample, Segmented
from app.demo.phantoms import Truth

GOOD = 0.9
"""Dice at which the annotator is satisfied with a structure."""

MAX_CLICKS = 6


@dataclass(frozen=True)
class Structure:
    """The result for one structure."""

    name: str
    clicks: int
    dice: float


@dataclass(frozen=True, eq=False)
class Played:
    """The result for one case. `before` is the automatic model's mean Dice; None before its first training."""

    sample: Sample
    volume: Volume
    truth: Truth
    submitted: Segmented
    structures: tuple[Structure, ...]
    before: float | None

    @property
    def clicks(self) -> int:
        return sum(one.clicks for one in self.structures)

    @property
    def after(self) -> float:
        return mean(one.dice for one in self.structures)


@dataclass(frozen=True)
class Annotator:
    """`truth_of` returns the ground truth of a case by its id; `names` are the structures to label with `click_model`.
    `auto_model` is only compared."""

    client: Client
    truth_of: Callable[[str], Truth | None]
    names: tuple[str, ...]
    click_model: str
    auto_model: str
    strategy: str

    def play(self, report: Callable[[str], None]) -> Played | None:
        """Label the next case and submit it; None when no case is left. Raises `Refused`."""
        sample = self.client.next_sample(self.strategy)
        if sample is None:
            return None
        truth = self.truth_of(sample.id)
        if truth is None:
            raise Refused(f"the server offers {sample.id}, which is no phantom; nobody here knows its truth")
        volume = self.client.image(sample)
        differs = truth.geometry.difference(volume.geometry, tolerance=0.01)
        if differs is not None:
            raise Refused(f"the image of {sample.id} doesn't lie where its series does: {differs}")
        report(f"{sample.patient}: asking {self.auto_model}")
        guess = self.client.segment(self.auto_model, sample)
        labelmap = np.zeros(truth.labelmap.shape, np.uint8)
        results = []
        for value, name in enumerate(self.names, start=1):
            report(f"{sample.patient}: clicking the {name}")
            result, mask = self._structure(sample, name, truth.voxels_of(name), volume)
            labelmap[mask & (labelmap == 0)] = value
            results.append(result)
        submitted = Segmented(labelmap, self.names)
        self.client.submit(sample, volume, submitted, self.click_model)
        before = None if guess is None else mean_dice(guess, truth, self.names)
        return Played(sample, volume, truth, submitted, tuple(results), before)

    def _structure(
        self, sample: Sample, name: str, truth: NDArray[np.bool_], volume: Volume
    ) -> tuple[Structure, NDArray[np.bool_]]:
        """Click until the mask is good, a click doesn't improve it, or `MAX_CLICKS`. Returns the best mask."""
        i, j, k = volume.geometry.spacing
        best = np.zeros(truth.shape, bool)
        best_dice, clicks = 0.0, list[Click]()
        while best_dice < GOOD and len(clicks) < MAX_CLICKS:
            click = next_click(truth, best, (k, j, i))
            if click is None:
                break
            clicks.append(click)
            mask = self.client.click(self.click_model, sample, name, clicks)
            reached = _dice(truth, mask)
            if reached < best_dice:
                break  # a person would press undo here, and continue by hand
            best, best_dice = mask, reached
        return Structure(name, len(clicks), best_dice), best


def mean_dice(segmented: Segmented, truth: Truth, names: tuple[str, ...]) -> float:
    """The mean Dice over structures."""
    return mean(_dice(segmented.voxels_of(name), truth.voxels_of(name)) for name in names)


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    value = dice(one, other)
    return 1.0 if value is None else value  # absent and not predicted: correct
