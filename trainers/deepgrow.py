"""Deepgrow (Sakinis et al., arXiv 1903.08205): a structure grows from clicks, in a slice or in the volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch

from app.core.guidance import DEEPGROW_SIGMA, point_guidance
from app.core.training import Epoch, ModelSpec, TrainingRun
from app.core.volume import Index
from trainers import _losses
from trainers._clicks import correction, random_inside
from trainers._epochs import dice, epochs, forward
from trainers._options import ints, three_floats, three_ints
from trainers._patches import UNKNOWN, Patch, Patches, augmented
from trainers._scoring import COUNT


@dataclass(frozen=True)
class Deepgrow:
    """Learns to segment whatever structure is clicked on, and to follow further clicks.

    `dimension` 2 makes a model of single slices. The first click lies inside the structure; then come up to `clicks`
    corrections, each on the larger error. `patch`, `features` and `spacing` (mm, 0: the image's own; along k, j, i;
    "" chooses by dimension) shape a new model; one that has a version keeps what it has. All structures are one task
    to it, so new labels never need a new network.
    """

    model_types: ClassVar[tuple[str, ...]] = ("deepgrow_2d", "deepgrow_3d")

    dimension: int = 3
    patch: str = ""
    features: str = "16,32,64,128"
    spacing: str = ""
    intensity: str = "zscore"
    clicks: int = 3
    batch: int = 0
    steps_per_epoch: int = 20
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        if self.dimension not in (2, 3):
            raise ValueError(f"dimension is 2 or 3, not {self.dimension}")

    def spec(self, labels: Sequence[str], parent: ModelSpec | None) -> ModelSpec:
        if parent is not None and (parent.patch[0] == 1) == (self.dimension == 2):
            return replace(parent, labels=tuple(labels))
        flat = self.dimension == 2
        features = ints(self.features)
        arguments = {
            "spatial_dims": self.dimension,
            "in_channels": 3,
            "out_channels": 1,
            "channels": features,
            "strides": [2] * (len(features) - 1),
            "num_res_units": 1,
        }
        patch = three_ints(self.patch or ("1,128,128" if flat else "32,64,64"))
        spacing = three_floats(self.spacing or ("0,1.5,1.5" if flat else "2,2,2"))
        return ModelSpec(
            f"deepgrow_{self.dimension}d", "UNet", arguments, tuple(labels), spacing, patch, self.intensity
        )

    def train(self, run: TrainingRun) -> Iterator[Epoch]:
        patches = Patches(run.train, run.spec.patch, foreground=1.0, centred=True)
        measured = _tasks_to_measure(run)
        size = self.batch or (8 if self.dimension == 2 else 2)

        def loss_of(rng: np.random.Generator) -> torch.Tensor:
            tasks = [_Task.begin(augmented(patches.draw(rng), rng, mirrored=True), rng) for _ in range(size)]
            for _ in range(int(rng.integers(0, self.clicks + 1))):
                with torch.no_grad():
                    _click_on_errors(tasks, _answer(run, tasks), rng)
            target = torch.from_numpy(np.stack([task.target for task in tasks]))
            known = torch.from_numpy(np.stack([task.patch.label != UNKNOWN for task in tasks]))
            return _losses.binary(_answer(run, tasks), target.to(run.device)[:, None], known.to(run.device)[:, None])

        return epochs(run, self.learning_rate, self.steps_per_epoch, loss_of, lambda: _measure(run, measured))


@dataclass(eq=False)
class _Task:
    """One structure of a patch to be segmented from clicks."""

    patch: Patch
    included: list[Index] = field(default_factory=list)
    excluded: list[Index] = field(default_factory=list)

    @classmethod
    def begin(cls, patch: Patch, rng: np.random.Generator) -> _Task:
        task = cls(patch)
        at = random_inside(task.target, rng)
        task.included += [at] if at is not None else []
        return task

    @property
    def target(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        return np.asarray(self.patch.label == self.patch.structure) & (self.patch.structure > 0)

    def channels(self) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        k, j, i = self.patch.image.shape
        signals = [point_guidance((k, j, i), points, DEEPGROW_SIGMA) for points in (self.included, self.excluded)]
        return [self.patch.image, *signals]


def _answer(run: TrainingRun, tasks: Sequence[_Task]) -> torch.Tensor:
    """Logits `(batch, 1, k, j, i)`; a 2D network gets its patches without their first axis."""
    inputs = torch.from_numpy(np.array([task.channels() for task in tasks])).to(run.device)
    if run.spec.patch[0] == 1:
        return forward(run.network, inputs[:, :, 0])[:, :, None]
    return forward(run.network, inputs)


def _click_on_errors(tasks: Sequence[_Task], logits: torch.Tensor, rng: np.random.Generator) -> None:
    for task, answer in zip(tasks, logits.cpu().numpy(), strict=True):
        click = correction((answer[0] > 0) & (task.patch.label != UNKNOWN), task.target, rng)
        if click is not None:
            (task.included if click[1] else task.excluded).append(click[0])


def _tasks_to_measure(run: TrainingRun) -> list[_Task]:
    """A few structures of the validation cases with one click each, the same in every run."""
    if len(run.validate) == 0:
        return []
    rng = np.random.default_rng(1)
    patches = Patches(run.validate, run.spec.patch, foreground=1.0, centred=True)
    tasks = [_Task.begin(patches.draw(rng), rng) for _ in range(COUNT)]
    return [task for task in tasks if task.included]


def _measure(run: TrainingRun, tasks: Sequence[_Task]) -> dict[str, float]:
    """Dice after that one click."""
    labels = run.spec.labels
    overlap, sizes = dict.fromkeys(labels, 0), dict.fromkeys(labels, 0)
    for task in tasks:
        here = (_answer(run, [task])[0, 0].cpu().numpy() > 0) & (task.patch.label != UNKNOWN)
        name = labels[task.patch.structure - 1]
        overlap[name] += int((here & task.target).sum())
        sizes[name] += int(here.sum() + task.target.sum())
    return dice(overlap, sizes)
