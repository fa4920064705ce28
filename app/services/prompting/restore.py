"""How a parked session comes back: from its snapshot, by predicting again, or from its mask alone.

The rule (docs/decisions/0007): nobody's mask ever changes on its own. A session goes on with the weights it was opened
with, from its snapshot and the steps after it, or from all its steps. If those weights are gone, or the snapshot is of
another version of the program, it goes on from the mask that the snapshot kept, provided that nothing was done after
it. Else it doesn't come back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveModel, Option
from app.core.prompt import InitialMask
from app.core.volume import Volume
from app.errors import BadFile, IntegrityError, SegloopError, UnknownCase, UnknownSession
from app.services.cases import CaseService
from app.services.models import ModelService
from app.services.prompting.images import SentImages
from app.services.prompting.log import SessionLog, SessionRecord, Step
from app.services.prompting.session import OVER, Memory, Session
from app.services.prompting.snapshots import Snapshot, Snapshots

logger = logging.getLogger(__name__)

Start = Callable[[str, Volume, InteractiveModel, Mapping[str, Option]], Memory]
"""Opens a model's session for an owner, within the memory that there is for sessions."""


@dataclass(frozen=True, eq=False)
class RestorePlan:
    """One way for a session to come back: open `model`, whose weights must be `version` ("" for any), take up the
    `snapshot`, do the `steps`, and then adopt a mask."""

    model: InteractiveModel
    version: str = ""
    snapshot: Snapshot | None = None
    steps: Sequence[Step] = ()
    adopted: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Restorer:
    cases: CaseService
    models: ModelService
    images: SentImages
    log: SessionLog
    snapshots: Snapshots
    start: Start

    def restore(self, session: Session) -> Memory:
        """A parked session's memory, made anew from its snapshot and its log. Raises `UnknownSession` if it can't be,
        and what opening its image and its model raise."""
        record = session.record
        try:
            self.images.ready(record.case_id)
            volume = self.cases.volume(record.case_id)
        except (UnknownCase, BadFile) as error:
            raise UnknownSession("this session's image is no longer here; open the image again") from error
        failed: SegloopError = UnknownSession(OVER)
        for plan in self._plans(record):
            try:
                return self._follow(plan, session, volume)
            except (BadFile, IntegrityError) as error:
                logger.warning("session %s could not be restored as planned: %s", record.name, error)
                failed = error
        raise failed

    def _plans(self, record: SessionRecord) -> Iterator[RestorePlan]:
        """The plans that keep the mask as it was, best first; a later one is for when an earlier one turns out not to
        fit. Raises `UnknownSession` in place of the first if there is none, and what `ModelService.interactive` and
        `SessionLog.steps` raise."""
        snapshot = self.snapshots.newest(record)
        steps = self.log.steps(record)
        version = version_after(record, steps)
        own = self.models.interactive_at(record.model, version)
        if own is not None and snapshot is not None and snapshot.version == version:
            yield RestorePlan(own, version, snapshot, steps[snapshot.steps :])
        if snapshot is not None and snapshot.steps == len(steps):
            yield self._adopting(record, steps, snapshot.mask)
        elif own is not None:
            yield RestorePlan(own, version, steps=worth_replaying(steps))
            # Another version may have begun to be served before this one was opened; it is in the store now.
            own = self.models.interactive_at(record.model, version) or own
            yield RestorePlan(own, version, steps=worth_replaying(steps))
        elif options_of(steps) == worth_replaying(steps):  # nothing is drawn
            yield self._adopting(record, steps, np.zeros(record.shape, np.uint8))
        else:
            raise UnknownSession(
                f"the weights that made this session's mask ({record.model}, version {version}) are no longer here;"
                " open the image again"
            )

    def _adopting(self, record: SessionRecord, steps: Sequence[Step], mask: NDArray[np.uint8]) -> RestorePlan:
        return RestorePlan(self.models.interactive(record.model), steps=options_of(steps), adopted=mask)

    def _follow(self, plan: RestorePlan, session: Session, volume: Volume) -> Memory:
        """Raises `BadFile` or `IntegrityError` if the plan doesn't fit."""
        memory = self.start(session.record.owner, volume, plan.model, session.record.options)
        try:
            if plan.version and plan.version != memory.session.version:
                raise BadFile(f"version {memory.session.version} is served now, not {plan.version}")
            if plan.snapshot is not None:
                memory.session.restore(plan.snapshot.state, plan.snapshot.mask)
            for step in plan.steps:
                session.perform(memory, step)
            if plan.adopted is not None:
                self._adopt(plan.adopted, session, memory)
        except BaseException:
            memory.session.close()
            raise
        session.ahead = plan.snapshot is None or bool(plan.steps)
        return memory

    def _adopt(self, mask: NDArray[np.uint8], session: Session, memory: Memory) -> None:
        """Go on from a mask with other weights, for good."""
        record = session.record
        step = Step("adopt", InitialMask(mask != 0), version=memory.session.version)
        session.perform(memory, step)
        self.log.append(record.id, step)
        logger.warning(
            "session %s goes on with version %s of %s from the mask that it had; what made that mask is no longer here",
            record.name,
            memory.session.version,
            record.model,
        )


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
