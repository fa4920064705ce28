"""The session of a model that computes its mask from all prompts so far, with undo and reset.

Models whose library has its own state (nnInteractive) implement their own session; every other interactive model only
provides a function from prompts to a mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.core.model import Option, SessionState
from app.core.prompt import InitialMask, Prompt, Region, decoded_prompt, encoded_prompt
from app.core.volume import Index
from app.errors import BadFile, BadOption, SegloopError
from app.models.checks import check_prompt
from app.models.packed_arrays import packed, unpacked

_FORM = "prompts 1"
"""The version of the state's format. Increase it when a model's result for the same prompts changes."""


class Predict(Protocol):
    """Computes a mask from prompts."""

    def __call__(self, prompts: Sequence[Prompt], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A new mask `(k, j, i)` of 0 and 1, from the prompts in order (the last one is new) and the current mask,
        which must not be modified. Raises `BadPrompt` if the prompts can't be used together."""


@dataclass(frozen=True)
class _Before:
    """The state that undo restores: the prompts, how many of them are pending (added without a prediction), and the
    previous voxels of the region that changed."""

    prompts: tuple[Prompt, ...]
    pending: int
    region: Region | None
    voxels: NDArray[np.uint8] | None


class PromptSession:
    """One mask in progress, recomputed from all prompts. Implements `app.core.model.InteractiveSession`.

    `version` is that of the weights that `predict` uses.
    """

    def __init__(self, shape: Index, accepts: frozenset[type[Prompt]], predict: Predict, version: str) -> None:
        self._mask = np.zeros(shape, np.uint8)
        self._accepts = accepts
        self._predict: Predict | None = predict
        self._version = version
        self._prompts: tuple[Prompt, ...] = ()
        self._pending = 0
        self._before: _Before | None = None

    @property
    def mask(self) -> NDArray[np.uint8]:
        """See `InteractiveSession.mask`."""
        return self._mask

    @property
    def version(self) -> str:
        """See `InteractiveSession.version`."""
        return self._version

    @property
    def undoable(self) -> bool:
        """See `InteractiveSession.undoable`."""
        return self._before is not None

    def add(self, prompt: Prompt, *, predict: bool = True, unchecked: bool = False) -> Region | None:
        """See `InteractiveSession.add`. An `InitialMask` replaces the mask without a prediction. `unchecked` is
        ignored: these models can't use other types of prompts."""
        check_prompt(prompt, self._shape, self._accepts)
        if isinstance(prompt, InitialMask):
            return self._move((), 0, prompt.voxels.astype(np.uint8))
        prompts = (*self._prompts, prompt)
        if not predict:
            return self._move(prompts, self._pending + 1, self._mask)
        return self._move(prompts, 0, self._predicted(prompts))

    def predict(self, *, full_refine: bool = False) -> Region | None:
        """See `InteractiveSession.predict`."""
        if self._pending == 0:
            return None
        return self._move(self._prompts, 0, self._predicted(self._prompts))

    def undo(self) -> Region | None:
        """See `InteractiveSession.undo`. There is one level: a second call in a row changes nothing, returns None."""
        before, self._before = self._before, None
        if before is None:
            return None
        self._prompts, self._pending = before.prompts, before.pending
        if before.region is not None and before.voxels is not None:
            self._mask[before.region.slices] = before.voxels
        return before.region

    def reset(self) -> Region | None:
        """See `InteractiveSession.reset`. Can't be undone."""
        region, _ = self._write(np.zeros(self._shape, np.uint8))
        self._prompts, self._pending = (), 0
        self._before = None
        return region

    def set_options(self, options: Mapping[str, Option]) -> None:
        """See `InteractiveSession.set_options`. These models read their options when a session opens."""
        if options:
            raise BadOption("the options of this model can't be changed while it is in use; open the image again")

    def capture(self) -> SessionState | None:
        """See `InteractiveSession.capture`: the prompts, and the state that undo restores."""
        values: dict[str, Any] = {"prompts": _encoded(self._prompts), "noted": self._pending, "before": None}
        parts = {}
        before = self._before
        if before is not None:
            values["before"] = {"prompts": _encoded(before.prompts), "noted": before.pending, "region": None}
            if before.region is not None and before.voxels is not None:
                values["before"]["region"] = [before.region.low, before.region.high]
                parts["before"] = packed(before.voxels)
        return SessionState(_FORM, values, parts)

    def restore(self, state: SessionState, mask: NDArray[np.uint8]) -> None:
        """See `InteractiveSession.restore`."""
        self.move_to(state, mask, Region.whole(self._shape))

    def move_to(self, state: SessionState, mask: NDArray[np.uint8], changed: Region | None) -> None:
        """See `InteractiveSession.move_to`."""
        if state.form != _FORM or mask.shape != self._mask.shape:
            raise BadFile(f"a session's state of the form {state.form!r} and {mask.shape} voxels doesn't fit here")
        try:
            self._prompts = _decoded(state.values["prompts"], self._shape)
            self._pending = int(state.values["noted"])
            self._before = _decoded_before(state, self._shape)
        except (ValueError, KeyError, TypeError) as error:
            raise BadFile(f"a session's state can't be read: {error!r}") from error
        if changed is not None:
            self._mask[changed.slices] = mask[changed.slices]

    def adopt(self, mask: NDArray[np.uint8]) -> None:
        """See `InteractiveSession.adopt`."""
        self._write(mask)
        self._prompts, self._pending, self._before = (), 0, None

    def close(self) -> None:
        """See `InteractiveSession.close`."""
        self._predict = None
        self._prompts = ()
        self._before = None
        self._mask = np.zeros((0, 0, 0), np.uint8)

    @property
    def _shape(self) -> Index:
        k, j, i = self._mask.shape
        return k, j, i

    def _predicted(self, prompts: Sequence[Prompt]) -> NDArray[np.uint8]:
        if self._predict is None:
            raise SegloopError("the session is closed")
        return self._predict(prompts, self._mask)

    def _move(self, prompts: tuple[Prompt, ...], pending: int, after: NDArray[np.uint8]) -> Region | None:
        region, old = self._write(after)
        self._before = _Before(self._prompts, self._pending, region, old)
        self._prompts, self._pending = prompts, pending
        return region

    def _write(self, after: NDArray[np.uint8]) -> tuple[Region | None, NDArray[np.uint8] | None]:
        """Write `after` into the mask in place; returns the changed region and its previous voxels."""
        region = Region.around(after != self._mask)
        if region is None:
            return None, None
        old = self._mask[region.slices].copy()
        self._mask[region.slices] = after[region.slices]
        return region, old


def _encoded(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    return [encoded_prompt(prompt) for prompt in prompts]


def _decoded(prompts: Sequence[Mapping[str, Any]], shape: Index) -> tuple[Prompt, ...]:
    return tuple(decoded_prompt(values, shape) for values in prompts)


def _decoded_before(state: SessionState, shape: Index) -> _Before | None:
    values = state.values["before"]
    if values is None:
        return None
    prompts, pending = _decoded(values["prompts"], shape), int(values["noted"])
    if values["region"] is None:
        return _Before(prompts, pending, None, None)
    (a, b, c), (d, e, f) = values["region"]
    region = Region((a, b, c), (d, e, f))
    if not region.within(shape):
        raise BadFile(f"a session's state has changes at {region}, outside of its {shape} voxels")
    return _Before(prompts, pending, region, unpacked(state.parts["before"], region.shape, np.uint8))
