"""DeepEdit (Diaz-Pinto et al., arXiv 2305.10655): automatic segmentation that clicks can correct."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from app.core.guidance import DEEPEDIT_SIGMA, point_guidance
from app.core.training import Epoch, ModelSpec, TrainingRun
from app.core.volume import Index
from trainers import _losses
from trainers._clicks import random_inside
from trainers._epochs import epochs, forward
from trainers._options import ints, three_floats, three_ints
from trainers._patches import UNKNOWN, Patch, Patches, augmented, has_left_and_right
from trainers._scoring import MeasuredPatches


@dataclass(frozen=True)
class DeepEdit:
    """Learns to segment all labels on its own, and to follow clicks that correct it.

    A share `automatic` of the batches has no clicks. The others get up to `clicks` rounds of them: in each, every
    patch is segmented and its largest error clicked. `patch`, `features` and `spacing` (mm, 0: the image's own; along
    k, j, i) shape a new model; one that has a version keeps what it has.
    """

    model_types: ClassVar[tuple[str, ...]] = ("deepedit",)

    patch: str = "32,64,64"
    features: str = "16,32,64,128"
    spacing: str = "2,2,2"
    intensity: str = "zscore"
    automatic: float = 0.5
    clicks: int = 3
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
            "in_channels": len(labels) + 2,
            "out_channels": len(labels) + 1,
            "channels": features,
            "strides": [2] * (len(features) - 1),
            "num_res_units": 1,
        }
        spacing, patch = three_floats(self.spacing), three_ints(self.patch)
        return ModelSpec("deepedit", "UNet", arguments, tuple(labels), spacing, patch, self.intensity)

    def train(self, run: TrainingRun) -> Iterator[Epoch]:
        patches = Patches(run.train, run.spec.patch, self.foreground)
        measured = MeasuredPatches.of(run.validate, run.spec)
        mirrored = not has_left_and_right(run.spec.labels)
        classes = len(run.spec.labels) + 1

        def loss_of(rng: np.random.Generator) -> torch.Tensor:
            drawn = [augmented(patches.draw(rng), rng, mirrored) for _ in range(self.batch)]
            clicks: list[list[tuple[int, Index]]] = [[] for _ in drawn]
            rounds = 0 if rng.random() < self.automatic else int(rng.integers(1, self.clicks + 1))
            for _ in range(rounds):
                with torch.no_grad():
                    predicted = forward(run.network, _inputs(drawn, clicks, classes, run.device)).argmax(1)
                for patch, there, answer in zip(drawn, clicks, predicted.cpu().numpy(), strict=True):
                    there.extend(_correction(answer, patch, rng))
            label = torch.from_numpy(np.stack([patch.label for patch in drawn])).long()
            logits = forward(run.network, _inputs(drawn, clicks, classes, run.device))
            examined = _losses.examined_classes([patch.examined for patch in drawn], classes, run.device)
            return _losses.multiclass(logits, label.to(run.device), examined)

        def measure() -> dict[str, float]:
            return measured.dice(
                lambda patch: forward(run.network, _inputs([patch], [[]], classes, run.device))[0].argmax(0)
            )

        return epochs(run, self.learning_rate, self.steps_per_epoch, loss_of, measure)


def _correction(predicted: NDArray[np.integer], patch: Patch, rng: np.random.Generator) -> list[tuple[int, Index]]:
    """A click for the label with the most wrong voxels, as `(label, voxel)`; empty without errors. A structure that
    nobody examined may be where it was found."""
    label = patch.label
    judged = np.where(np.isin(predicted, list(patch.examined)), predicted, 0)
    wrong = (judged != label) & (label != UNKNOWN)
    if not wrong.any():
        return []
    worst = int(np.bincount(label[wrong]).argmax())
    at = random_inside(wrong & (label == worst), rng)
    return [(worst, at)] if at is not None else []


def _inputs(
    drawn: Sequence[Patch], clicks: Sequence[Sequence[tuple[int, Index]]], classes: int, device: str
) -> torch.Tensor:
    """The image and one guidance signal per label, the background's last: `(batch, 1 + classes, k, j, i)`."""
    order = [*range(1, classes), 0]
    channels = [
        [patch.image]
        + [
            point_guidance(patch.image.shape, [at for label, at in there if label == wanted], DEEPEDIT_SIGMA)
            for wanted in order
        ]
        for patch, there in zip(drawn, clicks, strict=True)
    ]
    return torch.from_numpy(np.array(channels)).to(device)
