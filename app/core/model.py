"""Contracts between segmentation models and the services that run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from app.core.mask import Mask
from app.core.patches import Patches
from app.core.progress import Progress
from app.core.prompt import Prompt, Region
from app.core.volume import Geometry, Index, Volume

ModelKind = Literal["interactive", "deepedit", "scribbles", "automatic"]
"""`interactive`: segments one structure from prompts, mask 0/1. `scribbles`: the same from scribbles only. `automatic`:
takes no prompts. `deepedit`: automatic, and corrected by points per label."""

PROMPTED: frozenset[ModelKind] = frozenset({"interactive", "scribbles"})
"""Kinds of models that take prompts: they implement `InteractiveModel`, the others `AutomaticModel`."""

Option = bool | int | float | str


@dataclass(frozen=True)
class ModelCard:
    """The public description of a model.

    `labels` are its structures, numbered 1..N by position; empty for a model that segments any structure. `options` are
    what a caller may set per call, with their defaults (a tuple of strings is a choice whose first item is the
    default). `version` identifies the weights in use, "" while there are none. `licence` is that of the weights.
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
        """Whether the model implements `InteractiveModel`; if not, it implements `AutomaticModel`."""
        return self.kind in PROMPTED


@dataclass(frozen=True, eq=False)
class SessionState:
    """A session's in-memory state besides its volume and mask, from which another session resumes without predicting.

    `form` names the format and version; a session restores only its own. `values` are JSON; `parts` are bytes by name.
    """

    form: str
    values: Mapping[str, Any]
    parts: Mapping[str, bytes]


class InteractiveSession(Protocol):
    """One person, one volume, one mask in progress.

    Not thread-safe: the services hold a lock, and the device thread runs it.
    """

    @property
    def mask(self) -> NDArray[np.uint8]:
        """uint8 `(k, j, i)`, updated in place; 0/1 for models of one structure."""

    @property
    def version(self) -> str:
        """The card's `version` when the session was opened; the session keeps these weights until it is closed."""

    @property
    def undoable(self) -> bool:
        """Whether there is something to undo."""

    def add(self, prompt: Prompt, *, predict: bool = True, unchecked: bool = False) -> Region | None:
        """Add a prompt and predict. Returns the changed region, None if nothing changed.

        With `predict=False` the prompt is queued for the next prediction. With `unchecked`, prompts of types outside
        `accepts` are passed on to the model where possible. Raises `BadPrompt`; nothing has changed then.
        """

    def predict(self, *, full_refine: bool = False) -> Region | None:
        """Predict from queued prompts. Returns the changed region, None if nothing changed.

        `full_refine` predicts over the whole mask instead of the affected part only, where the model supports it.
        """

    def undo(self) -> Region | None:
        """Undo the last prompt or prediction (one level). Returns the changed region."""

    def set_options(self, options: Mapping[str, Option]) -> None:
        """Change options, from the next prompt on. Raises `BadOption`."""

    def reset(self) -> Region | None:
        """Remove all prompts and clear the mask. Returns the changed region."""

    def capture(self) -> SessionState | None:
        """The state to resume from, undo included; None if the model doesn't support it. Changes nothing and takes
        some hundredths of a second."""

    def restore(self, state: SessionState, mask: NDArray[np.uint8]) -> None:
        """Resume from the state and the mask `(k, j, i)` of a session with the same volume, options and weights.

        Only for a new session. Raises `BadFile` if the state doesn't fit; discard the session then.
        """

    def move_to(self, state: SessionState, mask: NDArray[np.uint8], changed: Region | None) -> None:
        """Go to another state of this session, earlier or later, which differs from the present mask within `changed`
        only (None: nowhere). It goes on then as it did from there, bit by bit.

        As `restore`, but for a session in use, and without the time that opening one takes.
        """

    def adopt(self, mask: NDArray[np.uint8]) -> None:
        """Start from a mask `(k, j, i)` that other weights made, without predicting. Clears the undo step."""

    def close(self) -> None:
        """Free its memory. The session can't be used afterwards."""


@runtime_checkable
class PatchedSession(Protocol):
    """What an `InteractiveSession` also has if its predictions consist of patches and can end between two of them."""

    def predict_with(self, patches: Patches) -> None:
        """Ask `patches` from the next prompt on. If it raises in the middle of a prompt or a prediction, the session is
        as it was before, what can be undone included."""


class InteractiveModel(Protocol):
    """Segments from prompts. All sessions share one set of weights."""

    @property
    def card(self) -> ModelCard: ...

    @property
    def accepts(self) -> frozenset[type[Prompt]]:
        """The types of prompts that it takes."""

    def open(self, volume: Volume, options: Mapping[str, Option]) -> InteractiveSession:
        """Start a session on a volume. Raises `BadInput` for volumes the model can't take (NaN, constant, 4D),
        `BadOption`, `ModelNotTrained`."""

    def session_bytes(self, volume: Volume) -> int:
        """An estimate of the memory that a session on this volume takes, for admission control."""


class AutomaticModel(Protocol):
    """Segments without prompts. Labels are numbered 1..N without gaps, in the card's order."""

    @property
    def card(self) -> ModelCard: ...

    def segment(self, volume: Volume, progress: Progress, options: Mapping[str, Option]) -> Mask:
        """A mask on the volume's grid. Raises `BadInput`, `BadOption`, `ModelNotTrained`, `Cancelled` (from
        `progress`)."""


class ProbabilisticModel(AutomaticModel, Protocol):
    """An automatic model that gives class probabilities, from which scorers compute uncertainty."""

    def probabilities(self, volume: Volume, progress: Progress) -> NDArray[np.float32]:
        """Softmax over classes, `(class, k, j, i)` with background first, on the model's own (resampled) grid."""

    def mask_from(self, probabilities: NDArray[np.float32], geometry: Geometry) -> Mask:
        """What `segment` answers about a volume of `geometry` of which `probabilities` are those of `probabilities`."""

    def snapshots(self) -> list[ProbabilisticModel]:
        """The same network with earlier weights of the same training run, newest first, for epistemic scores."""


class CorrectableModel(AutomaticModel, Protocol):
    """An automatic model of the kind `deepedit`, corrected by points per label."""

    def segment_with_points(
        self, volume: Volume, points: Mapping[str, Sequence[Index]], progress: Progress, options: Mapping[str, Option]
    ) -> Mask:
        """Segment, given voxels `(k, j, i)` of labels of the card, or of `background`. Raises `BadPrompt`,
        `ModelNotTrained`."""


class Swappable(Protocol):
    """A model whose weights can be replaced while it serves."""

    def use(self, folder: Path) -> None:
        """Use the weights of a version folder from now on. Open sessions keep the old ones; nothing changes on an
        error. Raises `BadFile`."""


AnyModel = InteractiveModel | AutomaticModel
"""What a model type builds; the card's `takes_prompts` says which of the two."""


VersionState = Literal["published", "rejected"]


@dataclass(frozen=True)
class ModelVersion:
    """Immutable weights. `folder` is relative to the model store and holds `model.json` and the weights, whose digest
    is `sha256`. `label_ids` are the labels it was trained on; `reason` is the gate's. `created` is in seconds since the
    epoch."""

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


def version_before(versions: Sequence[ModelVersion], served: ModelVersion | None) -> ModelVersion | None:
    """The version of a model to go back to from `served`: the newest earlier one that the gate published, or that was
    served when another one was trained, so somebody published it. None if there is none."""
    trained_from = {one.parent for one in versions}
    earlier = (
        one
        for one in versions
        if served is not None and one.number < served.number and (one.state == "published" or one.id in trained_from)
    )
    return max(earlier, key=lambda one: one.number, default=None)


def best_version(versions: Sequence[ModelVersion], served: ModelVersion) -> ModelVersion:
    """The published version of a model with the highest mean Dice when it was made, `served` itself or an earlier one:
    a later one has been rolled back."""
    earlier = (one for one in versions if one.state == "published" and one.number < served.number)
    return max([served, *earlier], key=lambda one: float(one.metrics.get("best_metric", 0.0)))
