"""A session of a model that makes its mask from all prompts so far, with undo and reset.

Models whose library keeps its own state (nnInteractive) have a session of their own; every other interactive model
only says how prompts become a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import InitialMask, Prompt, Region
from app.core.volume import Index
from app.errors import SegloopError
from app.models.checks import check_prompt


class Predict(Protocol):
    """How prompts become a mask."""

    def __call__(self, prompts: Sequence[Prompt], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A new mask `(k, j, i)` of 0 and 1 from the prompts in the order they came (the last one is why it is
        called) and the mask so far, which it must not write to. Raises `BadPrompt` if they can't be used together."""


@dataclass(frozen=True)
class _Before:
    """What undo goes back to: the prompts, and the voxels that changed."""

    prompts: tuple[Prompt, ...]
    region: Region | None
    voxels: NDArray[np.uint8] | None


class PromptSession:
    """One mask in progress that is predicted anew from all prompts. Keeps `app.core.model.InteractiveSession`."""

    def __init__(self, shape: Index, accepts: frozenset[type[Prompt]], predict: Predict) -> None:
        self._mask = np.zeros(shape, np.uint8)
        self._accepts = accepts
        self._predict: Predict | None = predict
        self._prompts: tuple[Prompt, ...] = ()
        self._before: _Before | None = None

    @property
    def mask(self) -> NDArray[np.uint8]:
        return self._mask

    def add(self, prompt: Prompt, *, predict: bool = True) -> Region | None:
        """See `InteractiveSession.add`. An `InitialMask` is never predicted from: it is the mask."""
        if self._predict is None:
            raise SegloopError("the session is closed")
        check_prompt(prompt, self._shape, self._accepts)
        if isinstance(prompt, InitialMask):
            prompts: tuple[Prompt, ...] = ()
            after = prompt.voxels.astype(np.uint8)
        else:
            prompts = (*self._prompts, prompt)
            after = self._predict(prompts, self._mask) if predict else self._mask
        before = self._prompts
        region, old = self._write(after)
        self._prompts = prompts
        self._before = _Before(before, region, old)
        return region

    def undo(self) -> Region | None:
        """See `InteractiveSession.undo`: one level, so a second call in a row changes nothing and answers None."""
        before, self._before = self._before, None
        if before is None:
            return None
        self._prompts = before.prompts
        if before.region is not None and before.voxels is not None:
            self._mask[before.region.slices] = before.voxels
        return before.region

    def reset(self) -> Region | None:
        """See `InteractiveSession.reset`. Can't be undone."""
        region, _ = self._write(np.zeros(self._shape, np.uint8))
        self._prompts = ()
        self._before = None
        return region

    def close(self) -> None:
        self._predict = None
        self._prompts = ()
        self._before = None
        self._mask = np.zeros((0, 0, 0), np.uint8)

    @property
    def _shape(self) -> Index:
        k, j, i = self._mask.shape
        return k, j, i

    def _write(self, after: NDArray[np.uint8]) -> tuple[Region | None, NDArray[np.uint8] | None]:
        """Write `after` into the mask in place; the box that changed, and what was there before."""
        region = Region.around(after != self._mask)
        if region is None:
            return None, None
        old = self._mask[region.slices].copy()
        self._mask[region.slices] = after[region.slices]
        return region, old
