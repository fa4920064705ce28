"""Performing one step of a log on a model's session."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveSession, PatchedSession
from app.core.patches import Patches
from app.core.prompt import Edit, InitialMask, Region
from app.services.prompting.ending import ReplayedPatches
from app.services.prompting.log import Step


def edited(mask: NDArray[np.uint8], edit: Edit) -> Region | None:
    """Change a mask by hand; returns the region that changed."""
    before = mask[edit.region.slices].copy()
    mask[edit.region.slices] = edit.voxels
    return edit.region if (before != edit.voxels).any() else None


def perform(session: InteractiveSession, step: Step, patches: Patches | None = None) -> Region | None:
    """Perform one step on a model's session, as it was logged unless there are other `patches`; returns the changed
    region."""
    if isinstance(session, PatchedSession):
        session.predict_with(patches or ReplayedPatches(step.patches))
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
