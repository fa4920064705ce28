"""Dice on a few fixed patches after every epoch, cheap enough for choosing the best epoch.

The host decides on publishing, on whole cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from app.core.training import ModelSpec, Sample
from trainers._epochs import dice
from trainers._patches import UNKNOWN, Patch, Patches

COUNT = 12
_SEED = 1


@dataclass(frozen=True, eq=False)
class MeasuredPatches:
    """Half of the patches contain structures, half are at random positions, to count false positives too."""

    labels: tuple[str, ...]
    patches: tuple[Patch, ...]

    @classmethod
    def of(cls, samples: Sequence[Sample], spec: ModelSpec) -> MeasuredPatches:
        if len(samples) == 0:
            return cls(spec.labels, ())
        source = Patches(samples, spec.patch, foreground=0.5)
        rng = np.random.default_rng(_SEED)
        return cls(spec.labels, tuple(source.draw(rng) for _ in range(COUNT)))

    def dice(self, predict: Callable[[Patch], torch.Tensor]) -> dict[str, float]:
        """`predict` returns label numbers `(k, j, i)` for a patch. Only structures that are examined in a patch's case
        count there."""
        overlap, sizes = dict.fromkeys(self.labels, 0), dict.fromkeys(self.labels, 0)
        for patch in self.patches:
            known = patch.label != UNKNOWN
            predicted = predict(patch).cpu().numpy()
            for number in patch.examined:
                name = self.labels[number - 1]
                here, there = (predicted == number) & known, patch.label == number
                overlap[name] += int((here & there).sum())
                sizes[name] += int(here.sum() + there.sum())
        return dice(overlap, sizes)
