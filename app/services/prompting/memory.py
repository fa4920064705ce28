"""What an open session has in memory, and doing one step in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveModel, InteractiveSession
from app.core.prompt import InitialMask, Region
from app.core.volume import Geometry
from app.formats.packed_gzip import PackedGzip
from app.formats.slicewise_gzip import SlicewiseGzip
from app.services.prompting.log import Step


@dataclass(frozen=True, eq=False)
class Change:
    """What prompts did: the region that changed, and a copy of the mask there; both None if nothing did."""

    region: Region | None
    voxels: NDArray[np.uint8] | None


@dataclass(eq=False)
class SessionMemory:
    """Not thread-safe: whoever holds the session's lock holds this too. The encoders are made when somebody asks for
    what they make. `size` is in bytes, about. `model` is held on to because sessions with the same earlier weights
    share it."""

    model: InteractiveModel
    session: InteractiveSession
    geometry: Geometry
    size: int
    whole: SlicewiseGzip | None = None
    packed: PackedGzip | None = None

    def touch(self, region: Region | None) -> None:
        """Say that the mask may have changed within `region`; None is nothing."""
        for encoder in (self.whole, self.packed):
            if encoder is not None:
                encoder.touch(region)

    def change(self, region: Region | None) -> Change:
        return Change(region, None if region is None else self.session.mask[region.slices].copy())

    def gzip(self, prefix: bytes) -> bytes:
        """See `PromptService.gzip`."""
        if self.whole is None:
            self.whole = SlicewiseGzip(self.session.mask)
        return self.whole.gzip(prefix)

    def packed_gzip(self) -> bytes:
        """See `PromptService.packed_gzip`."""
        if self.packed is None:
            self.packed = PackedGzip(self.session.mask)
        return self.packed.gzip()


def perform(session: InteractiveSession, step: Step) -> Region | None:
    """Do one step; the region that it changed."""
    if step.kind == "add" and step.prompt is not None:
        return session.add(step.prompt, predict=step.predict, unchecked=step.unchecked)
    if step.kind == "predict":
        return session.predict(full_refine=step.full_refine)
    if step.kind == "undo":
        return session.undo()
    if step.kind == "reset":
        return session.reset()
    if step.kind == "adopt" and isinstance(step.prompt, InitialMask):
        session.adopt(step.prompt.voxels.astype(np.uint8))
        return None
    session.set_options(step.options or {})
    return None
