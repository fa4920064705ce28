"""What segments: contracts between models and the services that run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from app.core.mask import Mask
from app.core.progress import Progress
from app.core.prompt import Prompt, Region
from app.core.volume import Index, Volume

ModelKind = Literal["interactive", "deepedit", "scribbles", "automatic"]
"""`interactive`: prompts about one structure, mask 0/1. `deepedit`: automatic, and takes points per label.
`scribbles`: painted strokes about one structure. `automatic`: takes no prompts."""

PROMPTED: frozenset[ModelKind] = frozenset({"interactive", "scribbles"})
"""Kinds of models that take prompts: they keep `InteractiveModel`, the others `AutomaticModel`."""

Option = bool | int | float | str


@dataclass(frozen=True)
class ModelCard:
    """What people are told about a model.

    `labels` are the structures it knows, numbered 1..N by position; empty for a model that segments anything.
    `options` are what a caller may set per call, with their defaults (a tuple of strings is a choice, the first is the
    default). `version` names the weights in use, "" while there are none. `licence` is the weights' licence line.
    """

    name: str
    kind: ModelKind
    description: str
    labels: tuple[str, ...] = ()
    dimension: Literal[2, 3] = 3
    version: str = ""
    licence: str = ""
    ready: bool = True
    options: Mapping[str, Option | tuple[str, ...]] = field(default_factory=dict)

    @property
    def takes_prompts(self) -> bool:
        """Whether the model keeps `InteractiveModel`; if not, it keeps `AutomaticModel`."""
        return self.kind in PROMPTED


@dataclass(frozen=True, eq=False)
class SessionState:
    """What a session has in memory besides its volume and its mask, so that it can go on elsewhere without predicting.

    `form` names the program that made it, with its version; only a session of the same form takes it. `values` are
    what JSON knows; `parts` are bytes by name.
    """

    form: str
    values: Mapping[str, Any]
    parts: Mapping[str, bytes]


class InteractiveSession(Protocol):
    """One person, one volume, one mask in progress.

    Not thread-safe: the services hold a lock, the device thread runs it. `mask` is uint8 `(k, j, i)`, updated in
    place; 0/1 for models about one structure.
    """

    @property
    def mask(self) -> NDArray[np.uint8]: ...

    @property
    def version(self) -> str:
        """The weights it computes with for as long as it lives, as the model's card named them when it was opened."""

    @property
    def undoable(self) -> bool:
        """Whether `undo` would take something back."""

    def add(self, prompt: Prompt, *, predict: bool = True, unchecked: bool = False) -> Region | None:
        """Take a prompt; returns the changed region, None if nothing changed. With `predict=False` the prompt is only
        noted and takes part in the next prediction. With `unchecked` a model is given what it doesn't announce to take,
        as it stands, if it can be given that at all. Raises `BadPrompt`; then nothing has changed."""

    def predict(self, *, full_refine: bool = False) -> Region | None:
        """Predict from what was only noted; None if nothing was, or nothing changed. `full_refine`: look at the whole
        mask again, not only at what changes; a model that knows no such thing predicts as ever."""

    def undo(self) -> Region | None:
        """Take the last prompt or prediction back (one level); returns the changed region."""

    def set_options(self, options: Mapping[str, Option]) -> None:
        """Change options for the prompts to come. Raises `BadOption`."""

    def reset(self) -> Region | None:
        """Forget all prompts and empty the mask."""

    def capture(self) -> SessionState | None:
        """What it takes to go on from here, undo included; None if this session can't tell. Changes nothing and takes
        a few hundredths of a second."""

    def restore(self, state: SessionState, mask: NDArray[np.uint8]) -> None:
        """Go on from where another session with the same volume, options and weights was captured; `mask` is what it
        had. For a session in which nothing was done yet. Raises `BadFile` if it doesn't fit; the session is of no use
        then."""

    def adopt(self, mask: NDArray[np.uint8]) -> None:
        """Begin with a mask that other weights made, exactly as it is. There is nothing to undo then."""

    def close(self) -> None:
        """Give memory back. The session can't be used afterwards."""


class InteractiveModel(Protocol):
    """Shares one set of weights between all sessions."""

    @property
    def card(self) -> ModelCard: ...

    @property
    def accepts(self) -> frozenset[type[Prompt]]: ...

    def open(self, volume: Volume, options: Mapping[str, Option]) -> InteractiveSession:
        """A session on a volume. Raises `BadInput` for volumes the model can't take (NaN, constant, 4D)."""

    def session_bytes(self, volume: Volume) -> int:
        """About how much memory a session on this volume takes, for admission."""


class AutomaticModel(Protocol):
    """Takes no prompts. Labels are numbered 1..N without gaps, in the card's order."""

    @property
    def card(self) -> ModelCard: ...

    def segment(self, volume: Volume, progress: Progress, options: Mapping[str, Option]) -> Mask: ...


class ProbabilisticModel(AutomaticModel, Protocol):
    """An automatic model that scorers can look into."""

    def probabilities(self, volume: Volume, progress: Progress) -> NDArray[np.float32]:
        """Softmax over classes, `(class, k, j, i)` with background first, on the model's own (resampled) grid."""

    def snapshots(self) -> list[ProbabilisticModel]:
        """The same network with earlier weights of the same training run, newest first, for epistemic scores."""


class CorrectableModel(AutomaticModel, Protocol):
    """An automatic model of the kind `deepedit`: points per label correct its answer."""

    def segment_with_points(
        self, volume: Volume, points: Mapping[str, Sequence[Index]], progress: Progress, options: Mapping[str, Option]
    ) -> Mask:
        """Segment with voxels `(k, j, i)` known to belong to a label of the card, or to `background`. Raises
        `BadPrompt`, `ModelNotTrained`."""


class Swappable(Protocol):
    """A model whose weights can be exchanged while it serves."""

    def use(self, folder: Path) -> None:
        """Serve another folder's weights from now on. What is open keeps the old ones; on an error nothing changes."""


AnyModel = InteractiveModel | AutomaticModel
"""What a model type builds; its card's `takes_prompts` says which of both."""


VersionState = Literal["published", "rejected"]


@dataclass(frozen=True)
class ModelVersion:
    """`folder` is relative to the model store and holds `model.json` and the weights; `label_ids` are what it was
    trained on; `reason` is what the gate said."""

    id: str
    model: str
    number: int
    parent: str
    folder: str
    sha256: str
    state: VersionState
    reason: str
    metrics: Mapping[str, Any]
    label_ids: Sequence[int]
    licence: str
    job_id: str
    created: float
