"""Automatic segmentation: a residual U-Net on patches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from app.core.training import Epoch, ModelSpec, TrainingRun
from trainers import _losses
from trainers._epochs import epochs, forward
from trainers._options import ints, three_floats, three_ints
from trainers._patches import Patch, Patches, augmented, has_left_and_right
from trainers._scoring import MeasuredPatches


@dataclass(frozen=True)
class Segmentation:
    """Learns to segment all labels on its own, without clicks.

    `patch`, `features` and `spacing` (mm, 0: the image's own; all along k, j, i) shape a new model; one that has a
    version keeps what it has. On a graphics card try `patch` 96,128,128, `features` 32,64,128,256,512, `batch` 4,
    `steps_per_epoch` 250.
    """

    model_types: ClassVar[tuple[str, ...]] = ("segmentation",)

    patch: str = "32,64,64"
    features: str = "16,32,64,128"
    spacing: str = "2,2,2"
    intensity: str = "zscore"
    dropout: float = 0.1
    batch: int = 2
    steps_per_epoch: int = 20
    learning_rate: float = 3e-3
    foreground: float = 0.67

    def spec(self, labels: Sequence[str], parent: ModelSpec | None) -> ModelSpec:
        if parent is not None and parent.labels == tuple(labels):
            return parent
        features = ints(self.features)
        arguments = {
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": len(labels) + 1,
            "channels": features,
            "strides": [2] * (len(features) - 1),
            "num_res_units": 1,
            "dropout": self.dropout,
        }
        spacing, patch = three_floats(self.spacing), three_ints(self.patch)
        return ModelSpec("segmentation", "UNet", arguments, tuple(labels), spacing, patch, self.intensity)

    def train(self, run: TrainingRun) -> Iterator[Epoch]:
        patches = Patches(run.train, run.spec.patch, self.foreground)
        measured = MeasuredPatches.of(run.validate, run.spec)
        mirrored = not has_left_and_right(run.spec.labels)
        classes = len(run.spec.labels) + 1

        def loss_of(rng: np.random.Generator) -> torch.Tensor:
            drawn = [augmented(patches.draw(rng), rng, mirrored) for _ in range(self.batch)]
            label = torch.from_numpy(np.stack([patch.label for patch in drawn])).long()
            examined = _losses.examined_classes([patch.examined for patch in drawn], classes, run.device)
            logits = forward(run.network, _images(drawn, run.device))
            return _losses.multiclass(logits, label.to(run.device), examined)

        def measure() -> dict[str, float]:
            return measured.dice(lambda patch: forward(run.network, _images([patch], run.device))[0].argmax(0))

        return epochs(run, self.learning_rate, self.steps_per_epoch, loss_of, measure)


def _images(drawn: Sequence[Patch], device: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([patch.image for patch in drawn])[:, None]).to(device)
