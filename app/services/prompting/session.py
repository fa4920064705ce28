"""The session handle: the only access to a session's mask.

    with prompting.session(session_id, owner) as session:
        change = session.add([prompt])
        packed = session.gzip()

A `with` block holds the session's lock, so its calls are atomic to other callers. Each step is logged before `add` and
the like return; an error later in the block doesn't undo it.

A parked session (only its log and a snapshot are on disk) is restored at first use. A prediction may end early
(`ending`); its step says after how many patches.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.connection import NoConnection, current_connection
from app.core.model import InteractiveModel, InteractiveSession, Option
from app.core.prompt import Edit, InitialMask, Prompt, Region
from app.core.volume import Geometry, Index
from app.errors import BadFile, SegloopError, UnknownSession
from app.formats.slicewise_gzip import PackedGzip, SlicewiseGzip
from app.models.device import Device, Priority
from app.services.prompting.counting_lock import CountingLock
from app.services.prompting.ending import LivePatches, PatchProgress, ReplayedPatches
from app.services.prompting.history import Depth, History, Trail
from app.services.prompting.images import SentImages
from app.services.prompting.log import Said, SessionLog, SessionRecord, Step
from app.services.prompting.performing import edited, perform
from app.services.prompting.snapshots import Snapshots

logger = logging.getLogger(__name__)

SESSION_OVER = "this session is over; open the image again"


@dataclass(frozen=True, eq=False)
class Change:
    """The region of the mask that changed, and a copy of its voxels `(k, j, i)`; both None if nothing changed."""

    region: Region | None
    voxels: NDArray[np.uint8] | None

    @classmethod
    def of(cls, mask: NDArray[np.uint8], region: Region | None) -> Change:
        """Copy a region of a mask."""
        return cls(region, None if region is None else mask[region.slices].copy())


@dataclass(eq=False)
class Memory:
    """A session's state in memory. The encoders are created at first use. `size` is approximate, in bytes. `model` is
    referenced to keep earlier weights loaded, which sessions share. `edited`: the mask was changed by hand since the
    model's last prompt. `history` is None where the client has one step of undo."""

    model: InteractiveModel
    session: InteractiveSession
    geometry: Geometry
    size: int
    whole: SlicewiseGzip | None = None
    packed: PackedGzip | None = None
    edited: bool = False
    history: History | None = None

    def keep_history(self, history: History | None) -> None:
        """Use a history from now on, which keeps a copy of the mask."""
        self.history = history
        self.size += 0 if history is None else self.geometry.voxel_count

    def touch(self, region: Region | None) -> None:
        """Tell the encoders that the mask may have changed within `region`; None means no change."""
        for encoder in (self.whole, self.packed):
            if encoder is not None:
                encoder.touch(region)


@dataclass(frozen=True, eq=False)
class Context:
    """What all sessions share. `restore` rebuilds a parked session's memory."""

    device: Device
    images: SentImages
    log: SessionLog
    snapshots: Snapshots
    restore: Callable[[Session], Memory]


class Session:
    """One session. `PromptService` creates sessions and yields them in `with` blocks; outside of these only `record`,
    `shape`, `used`, `waiting`, `busy`, `progress` and `size` may be used.

    `note` is for the dialect's own data about the session; it is in memory only. `used` is the time of the last use, on
    the monotonic clock. `has_unsaved_steps` says that there are steps that aren't in the snapshot. `slot_lock` is that
    of the slot through which the session is in use: the next requests wait there.
    """

    def __init__(self, record: SessionRecord, logged: bool, context: Context, memory: Memory | None = None) -> None:
        self.record = record
        self.logged = logged
        self.note: Any = None
        self.used = time.monotonic()
        self.closed = False
        self._context = context
        self._memory = memory
        self._lock = CountingLock()
        self.slot_lock: CountingLock | None = None
        self._predicting: LivePatches | None = None
        self.has_unsaved_steps = False

    @property
    def shape(self) -> Index:
        """The shape of the image and the mask, `(k, j, i)`."""
        return self.record.shape

    @property
    def geometry(self) -> Geometry:
        """The grid of the image and the mask."""
        return self._opened().geometry

    @property
    def model(self) -> InteractiveModel:
        """The model, with the weights that this session uses."""
        return self._opened().model

    def add(
        self,
        prompts: Sequence[Prompt],
        predict: bool = True,
        unchecked: bool = False,
        whole: bool = False,
        batch: str = "",
    ) -> Change:
        """Add prompts in order, with one prediction each; returns their combined change.

        With `predict=False` the prompts are only recorded, for the next prediction. `unchecked` also accepts prompt
        types that the model doesn't announce. `whole` predictions are never ended early, only taken back. Raises
        `BadPrompt` at the first unusable prompt, and `Cancelled` at the one during which the client closed its
        connection if that is taken back; earlier ones stay added.
        """
        changed: Region | None = None
        for prompt in prompts:
            region = self._take(Step("add", prompt, predict, unchecked, batch=batch), whole)
            changed = region if changed is None else changed if region is None else changed.join(region)
        return self.cut(changed)

    def predict(self, full_refine: bool = False) -> Change:
        """Predict from the prompts that were added without a prediction. Raises `Cancelled`, as `add`."""
        return self.cut(self._take(Step("predict", full_refine=full_refine)))

    def edit(self, edit: Edit, shown: bool = False, batch: str = "") -> Change:
        """Change the mask by hand, as a step; a model that takes a mask is given the whole one with the next prompt,
        unless the edit only cuts the last answer to what is `shown`. Steps of a `batch` are undone together."""
        return self.cut(self._take(Step("edit", edit=edit, shown=shown, batch=batch)))

    def say(self, said: Said, batch: str = "") -> None:
        """Record what is said of the session's structure, as a step."""
        self._take(Step("say", said=said, batch=batch))

    @property
    def trail(self) -> Trail:
        """The steps of `depth`; none where no history is kept."""
        history = self._opened().history
        return Trail([], []) if history is None else history.trail

    @property
    def said(self) -> Said:
        """What is said of the session's structure; "" where no history is kept."""
        history = self._opened().history
        return "" if history is None else history.said

    def step_back(self) -> Change | None:
        """Go back to the state before the last step, whatever it was; None if there is no such state. In a session
        whose states aren't stored, as `undo`."""
        return self.undo() if self._opened().history is None else self._move(History.next_back)

    def step_forward(self) -> Change | None:
        """Go forward to the state after the step that was undone last; None if there is none."""
        return self._move(History.next_forward)

    @property
    def depth(self) -> Depth:
        """How many times `step_back` and `step_forward` can be called."""
        memory = self._opened()
        return memory.history.depth if memory.history is not None else Depth(int(memory.session.undoable), 0)

    def undo(self) -> Change | None:
        """Undo the last prompt, as the model itself does: one level; None if there is nothing to undo."""
        if not self._opened().session.undoable:
            return None
        return self.cut(self._take(Step("undo")))

    def reset(self) -> None:
        """Remove all prompts and clear the mask."""
        self._take(Step("reset"))

    def set_options(self, options: Mapping[str, Option]) -> None:
        """Change the model's options for the next prompts. Raises `BadOption`."""
        self._take(Step("options", options=options))

    @property
    def mask(self) -> NDArray[np.uint8]:
        """A read-only view of the mask, `(k, j, i)`. It changes with the next prompt; copy what is needed later."""
        view = self._opened().session.mask.view()
        view.flags.writeable = False
        return view

    def cut(self, region: Region | None) -> Change:
        """The mask within a region, as a `Change`."""
        return Change.of(self._opened().session.mask, region)

    def gzip(self, prefix: bytes = b"") -> bytes:
        """`prefix` and the whole mask as one gzip stream; only slices that changed since the last call are compressed
        again."""
        memory = self._opened()
        if memory.whole is None:
            memory.whole = SlicewiseGzip(memory.session.mask)
        return memory.whole.gzip(prefix)

    def packed_gzip(self) -> bytes:
        """The whole mask, eight voxels per byte, as one gzip stream (see `PackedGzip`)."""
        memory = self._opened()
        if memory.packed is None:
            memory.packed = PackedGzip(memory.session.mask)
        return memory.packed.gzip()

    # The rest is for `PromptService` and `Restorer`.

    @property
    def waiting(self) -> int:
        """How many callers wait for this session's lock."""
        return self._lock.waiting

    @property
    def overtaken(self) -> bool:
        """Whether the session's next prompt, undo, reset or end waits for this one."""
        return self._lock.overtaking or (self.slot_lock is not None and self.slot_lock.overtaking)

    @property
    def progress(self) -> PatchProgress | None:
        """How far the prediction in progress is; None without one, or before its first patch."""
        patches = self._predicting
        if patches is None or not patches.done:
            return None
        return PatchProgress(self.record.name, patches.done - 1, patches.most)

    @property
    def size(self) -> int | None:
        """The session's approximate size in memory, in bytes; None while it is parked."""
        memory = self._memory
        return None if memory is None else memory.size

    @property
    def busy(self) -> bool:
        """Whether a caller holds the session's lock."""
        return self._lock.locked

    @contextmanager
    def locked(self, overtaking: bool) -> Iterator[None]:
        """Hold the session's lock. Raises `UnknownSession` if the session was closed meanwhile."""
        self._lock.acquire(overtaking)
        try:
            if self.closed:
                raise UnknownSession(SESSION_OVER)
            self.used = time.monotonic()
            try:
                yield
            finally:
                self.used = time.monotonic()
        finally:
            self._lock.release()

    @contextmanager
    def locked_for_maintenance(self, wait: bool) -> Iterator[bool]:
        """Hold the lock for housekeeping, also of a closed session, without counting as use. Yields False, without the
        lock, if a caller holds it and `wait` is not set."""
        if wait:
            self._lock.acquire()
        elif not self._lock.try_acquire():
            yield False
            return
        try:
            yield True
        finally:
            self._lock.release()

    def replay(self, memory: Memory, step: Step) -> Region | None:
        """Perform one step as it was logged, without logging it again; returns the changed region."""
        return self._perform(memory, step, ReplayedPatches(step.patches))

    def keep_snapshot(self) -> None:
        """Take a snapshot if there are unsaved steps."""
        if self.has_unsaved_steps and self._memory is not None:
            self.has_unsaved_steps = False
            self._context.snapshots.keep(self.record, self._memory.session, self._memory.edited)

    def release(self) -> None:
        """Free the session's memory."""
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.session.close()

    def _opened(self) -> Memory:
        if self._memory is None:
            if self.closed:
                raise UnknownSession(SESSION_OVER)
            self._memory = self._context.restore(self)
        return self._memory

    def _perform(self, memory: Memory, step: Step, patches: LivePatches | ReplayedPatches) -> Region | None:
        def work() -> Region | None:
            patches.restart()  # after waiting for the device, and again if the device was out of memory
            if memory.edited and step.kind in {"add", "predict"} and InitialMask in memory.model.accepts:
                memory.session.add(InitialMask(memory.session.mask != 0))
            return perform(memory.session, step, patches)

        if step.kind == "say":
            return None
        if step.edit is not None:
            region = edited(memory.session.mask, step.edit)
            memory.edited |= region is not None and not step.shown
        else:
            region = self._context.device.run(work, Priority.PROMPT, self.record.owner)
            memory.edited &= step.kind == "options"
        memory.touch(region)
        return region

    def _move(self, where: Callable[[History], int | None], again: bool = False) -> Change | None:
        """Go to another position of the history, and log that; None if that isn't possible."""
        memory = self._opened()
        position = None if memory.history is None else where(memory.history)
        if position is None or memory.history is None:
            return None
        try:
            region, memory.edited = memory.history.move(position, memory.session)
        except BadFile as error:
            logger.warning("a state of session %s can't be used: %s", self.record.name, error)
            self.release()  # restoring it computes the state again
            return None if again else self._move(where, again=True)
        memory.touch(region)
        try:
            self._log(memory, Step("return", to=position), region)
        except BaseException:
            self.release()  # the log is the reference
            raise
        return self.cut(region)

    def _log(self, memory: Memory, step: Step, region: Region | None) -> None:
        if self.logged:
            self._context.images.wait_stored(self.record.case_id)  # without its image, a step can't be replayed
            if memory.history is not None:
                step = replace(step, at=round(time.time(), 3))
            line = self._context.log.append(self.record.id, step)
            self.has_unsaved_steps = True
            if memory.history is not None:
                memory.history.add(step, line, region, memory.session, memory.edited)

    def _take(self, step: Step, whole: bool = False) -> Region | None:
        """Perform one step and log it."""
        connection = current_connection.get() if step.predicts else NoConnection()
        connection.watch()
        patches = LivePatches(connection, lambda: self.overtaken, whole)
        memory = self._opened()
        if memory.history is not None:
            memory.history.keep_place(memory.session, memory.edited)
        self._predicting = patches
        try:
            region = self._perform(memory, step, patches)
            self._log(memory, replace(step, patches=patches.done or None), region)
        except SegloopError:
            raise  # the step was rejected and nothing has changed
        except BaseException:
            # Memory may now be ahead of the log (disk full, error in a library). The log is the reference: restore.
            if self.logged:
                self.release()
            raise
        finally:
            self._predicting = None
        return region
