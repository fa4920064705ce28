"""The trainer contract. A trainer is a generator of epochs; the host stops it by not asking for another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ModelSpec:
    """Everything besides the weights that is needed to run a model; stored beside them as `model.json`.

    `type` is the model type that runs it; the host checks that it equals the setting `models.NAME.type`.
    `network` names a class of `monai.networks.nets` and `arguments` are its constructor's. A model type whose training
    goes on from a base (`app/models/registry.py`) writes both itself; a trainer keeps them and may add to `arguments`.
    `labels` are 1..N by position. `spacing` is the model's grid in mm along `(k, j, i)` (0: keep the image's); `patch`
    is `(k, j, i)` (`(1, j, i)` for 2D models). `intensity` is `zscore`, `nonzero_box` (as nnInteractive),
    `window:LOW:HIGH` for a clip to that window scaled to 0..1, or `shift:MEAN:SCALE`.
    """

    type: str
    network: str
    arguments: Mapping[str, Any]
    labels: tuple[str, ...]
    spacing: tuple[float, float, float]
    patch: tuple[int, int, int]
    intensity: str = "zscore"


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled case on the model's grid: `image` float32 and `label` uint8, both `(k, j, i)`.

    Label values are positions in the spec's labels. `examined` are the positions of the structures that somebody
    segmented or found to be absent: a voxel of value 0 is none of these, and may be any other. A value of 255 is a
    voxel of which nothing is known.
    """

    case_id: str
    patient: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    examined: frozenset[int]


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A trainer's input. `network` is on `device`, with the weights of the parent version where they fit. `train` and
    `validate` load lazily: index them one at a time. `resume` is the `state` of the last checkpoint of an interrupted
    run. Call `pause` before each step: it waits while somebody uses the same device, and raises `Cancelled` when the
    job was stopped."""

    spec: ModelSpec
    network: torch.nn.Module
    device: str
    train: Sequence[Sample]
    validate: Sequence[Sample]
    epochs: int
    seed: int
    pause: Callable[[], None]
    resume: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Epoch:
    """The result of one pass over the data. `metrics` has at least `loss` and, with validation cases, `dice` (0..1,
    higher is better). `state` is what resuming after this epoch needs (optimizer, schedule, random state); the host
    saves it with the network's weights as a checkpoint."""

    number: int
    total: int
    metrics: Mapping[str, float]
    state: Mapping[str, Any]


class Trainer(Protocol):
    """One small file in `trainers/`; the file's stem is its public name, its class a frozen dataclass of options with
    defaults. The class docstring's first line is what viewers show."""

    model_types: ClassVar[tuple[str, ...]]
    """The model types that it trains, as settings name them. Using it for another type is a configuration error."""

    def spec(self, labels: Sequence[str], parent: ModelSpec | None) -> ModelSpec:
        """The spec for these labels: the parent's if its labels still fit, else a new one. Its `type` is one of
        `model_types`."""

    def train(self, run: TrainingRun) -> Iterator[Epoch]:
        """Train, one epoch per step of the iterator, updating `run.network` in place."""
