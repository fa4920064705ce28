"""Which steps of a session's log have to be done again, and with which weights."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.prompt import InitialMask
from app.services.prompting.log import SessionRecord, Step


def worth_replaying(steps: Sequence[Step]) -> list[Step]:
    """The steps that lead to the same state: nothing from before the last reset but options, nor from before an initial
    mask that can no longer be undone, and no prediction that was undone unless nothing was added since."""
    kept: list[Step] = []
    for step in steps:
        if step.kind == "adopt" or (step.kind == "reset" and not _waiting(kept)):
            kept = options_of(kept)
            if step.kind == "reset":
                continue
        if step.kind == "add":
            if kept and isinstance(kept[-1].prompt, InitialMask) and not _waiting(kept):
                kept = [*options_of(kept), kept[-1]]  # undo would now take back this step, and no longer the mask
            if len(kept) >= 2 and kept[-1].kind == "undo" and kept[-2].kind == "add" and kept[-2].predict:
                del kept[-2:]
        kept.append(step)
    return kept


def version_after(record: SessionRecord, steps: Sequence[Step]) -> str:
    """The weights that a session computes with after these steps."""
    return next((step.version for step in reversed(steps) if step.kind == "adopt"), record.model_version)


def _waiting(steps: Sequence[Step]) -> bool:
    """Whether a prompt that was only noted may still wait for its prediction: nnInteractive looks around it even after
    a reset or an initial mask."""
    noted = waiting = False
    for step in steps:
        if step.kind == "undo":
            waiting = noted  # it may be the one from before what was undone
        elif step.kind == "predict" or (step.kind == "add" and _predicts(step)):
            waiting = False
        elif step.kind == "add" and not isinstance(step.prompt, InitialMask):
            noted = waiting = True
    return waiting


def _predicts(step: Step) -> bool:
    return step.prompt.refine if isinstance(step.prompt, InitialMask) else step.predict


def options_of(steps: Sequence[Step]) -> list[Step]:
    """The changes of options among them: they hold on whatever becomes of the mask."""
    return [step for step in steps if step.kind == "options"]
