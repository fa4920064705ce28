"""Restoring a parked session: from its snapshot, by replaying its log, or from its last mask alone.

The rule (docs/decisions/0007): a mask never changes without a prompt. A session continues with the weights it was
opened with, from its snapshot and the steps after it, or from all its steps. If those weights no longer exist, or the
snapshot's format is another program version's, it continues from the mask in the snapshot, provided that the log has no
later steps. Otherwise it can't be restored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveModel, Option
from app.core.prompt import InitialMask
from app.core.volume import Volume
from app.errors import BadFile, IntegrityError, SegloopError, UnknownCase, UnknownSession
from app.services.cases import CaseService
from app.services.models import ModelService
from app.services.prompting.history import History, open_history
from app.services.prompting.images import SentImages
from app.services.prompting.log import SessionLog, SessionRecord, Step
from app.services.prompting.session import SESSION_OVER, Memory, Session
from app.services.prompting.snapshots import Snapshot, Snapshots

logger = logging.getLogger(__name__)

Start = Callable[[str, Volume, InteractiveModel, Mapping[str, Option]], Memory]
"""Opens a model's session for an owner, within the memory limit for sessions."""


@dataclass(frozen=True, eq=False)
class RestorePlan:
    """One way to restore a session: open `model`, whose weights must be `version` ("" for any), load the `snapshot`,
    replay the `steps`, and then adopt a mask. `positions` are those of the steps, where states are stored."""

    model: InteractiveModel
    version: str = ""
    snapshot: Snapshot | None = None
    steps: Sequence[Step] = ()
    positions: Sequence[int] = ()
    adopted: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Restorer:
    """Restores parked sessions. Thread-safe; callers hold the session's lock."""

    cases: CaseService
    models: ModelService
    images: SentImages
    log: SessionLog
    snapshots: Snapshots
    start: Start
    undo_bytes: int

    def restore(self, session: Session) -> Memory:
        """Rebuild a parked session's memory from its snapshot and log. Raises `UnknownSession` if that is impossible,
        and whatever opening its image and its model raise."""
        record = session.record
        try:
            self.images.wait_stored(record.case_id)
            volume = self.cases.volume(record.case_id)
        except (UnknownCase, BadFile) as error:
            raise UnknownSession("this session's image is no longer here; open the image again") from error
        failed: SegloopError = UnknownSession(SESSION_OVER)
        for plan in self._plans(record):
            try:
                return self._follow(plan, session, volume)
            except (BadFile, IntegrityError) as error:
                logger.warning("session %s could not be restored as planned: %s", record.name, error)
                failed = error
        raise failed

    def _plans(self, record: SessionRecord) -> Iterator[RestorePlan]:
        """The plans that preserve the mask, best first; the next one is tried if one fails. Raises `UnknownSession` if
        there is none, and whatever `ModelService.interactive` and `SessionLog.steps` raise."""
        snapshot = self.snapshots.newest(record)
        log = self.log.steps(record)
        version = version_after(record, log)
        own = self.models.interactive_at(record.model, version)
        if record.viewer.undoes_all:
            history = History(record, self.log, self.undo_bytes)
            base, positions = history.base(snapshot, version)
            every = history.positions
            steps = [log[position - 1] for position in every]
            again = RestorePlan(own, version, steps=steps, positions=every) if own is not None else None
        else:
            base, positions = snapshot, list(range(snapshot.steps + 1, len(log) + 1)) if snapshot is not None else []
            steps = steps_to_replay(log)
            again = RestorePlan(own, version, steps=steps) if own is not None else None
        after = [log[position - 1] for position in positions]
        if own is not None and base is not None and base.version == version:
            yield RestorePlan(own, version, base, after, positions)
        if base is not None and not after:
            yield self._adopting(record, steps, base.mask)
        elif again is not None:
            yield again
            # Another version may have been served since `own` was looked up; then this one is in the model store.
            yield replace(again, model=self.models.interactive_at(record.model, version) or again.model)
        elif options_of(steps) == steps:  # the mask is empty
            yield self._adopting(record, steps, np.zeros(record.shape, np.uint8))
        else:
            raise UnknownSession(
                f"the weights that made this session's mask ({record.model}, version {version}) are no longer here;"
                " open the image again"
            )

    def _adopting(self, record: SessionRecord, steps: Sequence[Step], mask: NDArray[np.uint8]) -> RestorePlan:
        return RestorePlan(self.models.interactive(record.model), steps=options_of(steps), adopted=mask)

    def _follow(self, plan: RestorePlan, session: Session, volume: Volume) -> Memory:
        """Carry out a plan. Raises `BadFile` or `IntegrityError` if it can't be carried out."""
        memory = self.start(session.record.owner, volume, plan.model, session.record.options)
        try:
            if plan.version and plan.version != memory.session.version:
                raise BadFile(f"version {memory.session.version} is served now, not {plan.version}")
            if plan.snapshot is not None:
                memory.session.restore(plan.snapshot.state, plan.snapshot.mask)
                memory.edited = plan.snapshot.edited
            memory.keep_history(open_history(session.record, self.log, self.undo_bytes, memory.session))
            for n, step in enumerate(plan.steps):
                region = session.replay(memory, step)
                if memory.history is not None and plan.positions:
                    memory.history.refill(plan.positions[n], region, memory.session, memory.edited)
            if plan.adopted is not None:
                self._adopt(plan.adopted, session, memory)
        except BaseException:
            memory.session.close()
            raise
        session.has_unsaved_steps = plan.snapshot is None or bool(plan.steps)
        return memory

    def _adopt(self, mask: NDArray[np.uint8], session: Session, memory: Memory) -> None:
        """Continue from a mask with other weights, and log that."""
        record = session.record
        step = Step("adopt", InitialMask(mask != 0), version=memory.session.version)
        session.replay(memory, step)
        line = self.log.append(record.id, step)
        if memory.history is not None:
            memory.history.start(memory.session)
            memory.history.add(step, line, None, memory.session, memory.edited)
        logger.warning(
            "session %s goes on with version %s of %s from its last mask; the weights that made it no longer exist",
            record.name,
            memory.session.version,
            record.model,
        )


def steps_to_replay(steps: Sequence[Step]) -> list[Step]:
    """The steps that are needed to reach the same state.

    Left out are, apart from options, the steps before the last reset and before an initial mask that can no longer be
    undone, and predictions that were undone and followed by another prompt.
    """
    kept: list[Step] = []
    for step in steps:
        if step.kind == "adopt" or (step.kind == "reset" and not _prompt_pending(kept)):
            kept = options_of(kept)
            if step.kind == "reset":
                continue
        if step.kind == "add":
            if kept and isinstance(kept[-1].prompt, InitialMask) and not _prompt_pending(kept):
                kept = [*options_of(kept), kept[-1]]  # an undo now applies to this step, no longer to the mask
            if len(kept) >= 2 and kept[-1].kind == "undo" and kept[-2].kind == "add" and kept[-2].predict:
                del kept[-2:]
        kept.append(step)
    return kept


def version_after(record: SessionRecord, steps: Sequence[Step]) -> str:
    """The version of the weights that a session uses after these steps."""
    return next((step.version for step in reversed(steps) if step.kind == "adopt"), record.model_version)


def _prompt_pending(steps: Sequence[Step]) -> bool:
    """Whether a prompt added without a prediction may still be pending: nnInteractive's next prediction includes the
    region around it even after a reset or an initial mask."""
    any_deferred = pending = False
    for step in steps:
        if step.kind == "undo":
            pending = any_deferred  # an undo may bring back an earlier pending prompt
        elif step.predicts:
            pending = False
        elif step.kind == "add" and not isinstance(step.prompt, InitialMask):
            any_deferred = pending = True
    return pending


def options_of(steps: Sequence[Step]) -> list[Step]:
    """The option changes among these steps; they survive a reset of the mask."""
    return [step for step in steps if step.kind == "options"]
