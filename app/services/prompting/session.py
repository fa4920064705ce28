"""A session while somebody has it: the only door to its mask.

    with prompting.session(session_id, owner) as session:
        change = session.add([prompt])
        packed = session.gzip()

Everything inside one `with` is one step of one caller: nobody else's prompt comes in between. Steps are logged before
`add` and the like return; what was logged stays done, whatever is raised later in the block.

A session's state is in memory, or only its log and a snapshot are on disk; the first use brings it back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveModel, InteractiveSession, Option
from app.core.prompt import InitialMask, Prompt, Region
from app.core.volume import Geometry, Index
from app.errors import SegloopError, UnknownSession
from app.formats.slicewise_gzip import PackedGzip, SlicewiseGzip
from app.models.device import Device, Priority
from app.services.prompting.images import SentImages
from app.services.prompting.log import SessionLog, SessionRecord, Step
from app.services.prompting.snapshots import Snapshots

logger = logging.getLogger(__name__)

OVER = "this session is over; open the image again"


@dataclass(frozen=True, eq=False)
class Change:
    """What prompts did: the region that changed, and a copy of the mask there; both None if nothing did."""

    region: Region | None
    voxels: NDArray[np.uint8] | None

    @classmethod
    def of(cls, mask: NDArray[np.uint8], region: Region | None) -> Change:
        return cls(region, None if region is None else mask[region.slices].copy())


@dataclass(eq=False)
class Memory:
    """What a session has in memory. The encoders are made when somebody asks for what they make. `size` is in bytes,
    about. `model` is held on to because sessions with the same earlier weights share it."""

    model: InteractiveModel
    session: InteractiveSession
    geometry: Geometry
    size: int
    whole: SlicewiseGzip | None = None
    packed: PackedGzip | None = None

    def touch(self, region: Region | None) -> None:
        """The mask may have changed within `region`; None is nothing."""
        for encoder in (self.whole, self.packed):
            if encoder is not None:
                encoder.touch(region)


@dataclass(frozen=True, eq=False)
class Context:
    """What sessions share. `restore` brings a parked session's memory back."""

    device: Device
    images: SentImages
    log: SessionLog
    snapshots: Snapshots
    restore: Callable[[Session], Memory]


class Turn:
    """A lock that tells how many threads wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = threading.Lock()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        return self._waiting

    @property
    def taken(self) -> bool:
        return self._lock.locked()

    def acquire(self) -> None:
        with self._count:
            self._waiting += 1
        try:
            self._lock.acquire()
        finally:
            with self._count:
                self._waiting -= 1

    def try_acquire(self) -> bool:
        return self._lock.acquire(blocking=False)

    def release(self) -> None:
        self._lock.release()


class Session:
    """One session. `PromptService` makes them and hands them out in `with` blocks; nothing below is called outside one,
    apart from `record`, `shape`, `used`, `waiting`, `busy` and `size`.

    `note` is the dialect's: what it has to remember of a session until the server ends. `used` is on the monotonic
    clock. `ahead` says that it has done more than its snapshot knows.
    """

    def __init__(self, record: SessionRecord, logged: bool, context: Context, memory: Memory | None = None) -> None:
        self.record = record
        self.logged = logged
        self.note: Any = None
        self.used = time.monotonic()
        self.closed = False
        self._context = context
        self._memory = memory
        self._turn = Turn()
        self.ahead = False

    @property
    def shape(self) -> Index:
        """Of the image and the mask, `(k, j, i)`."""
        return self.record.shape

    @property
    def geometry(self) -> Geometry:
        return self._opened().geometry

    @property
    def model(self) -> InteractiveModel:
        """The model with the weights that this session computes with."""
        return self._opened().model

    def add(self, prompts: Sequence[Prompt], predict: bool = True, unchecked: bool = False) -> Change:
        """Take prompts in their order, with one prediction each; says what they changed together.

        With `predict=False` they are only noted and take part in the next prediction. `unchecked` gives the model what
        it doesn't announce to take. Raises `BadPrompt` at the first that can't be used; those before it count.
        """
        changed: Region | None = None
        for prompt in prompts:
            region = self._take(Step("add", prompt, predict, unchecked))
            changed = region if changed is None else changed if region is None else changed.join(region)
        return self.cut(changed)

    def predict(self, full_refine: bool = False) -> Change:
        """Predict from prompts that were only noted."""
        return self.cut(self._take(Step("predict", full_refine=full_refine)))

    def undo(self) -> Change | None:
        """Take the last prompt back; None if there is nothing to take back."""
        if not self._opened().session.undoable:
            return None
        return self.cut(self._take(Step("undo")))

    def reset(self) -> None:
        """Forget the prompts and empty the mask."""
        self._take(Step("reset"))

    def set_options(self, options: Mapping[str, Option]) -> None:
        """Change the model's options for the prompts to come. Raises `BadOption`."""
        self._take(Step("options", options=options))

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The mask, `(k, j, i)`, read-only; it changes with the next prompt. Copy what is needed after the block."""
        view = self._opened().session.mask.view()
        view.flags.writeable = False
        return view

    def cut(self, region: Region | None) -> Change:
        """The mask within a region, as a change."""
        return Change.of(self._opened().session.mask, region)

    def gzip(self, prefix: bytes = b"") -> bytes:
        """`prefix` and the whole mask as one gzip stream; only slices changed since the last call are compressed."""
        memory = self._opened()
        if memory.whole is None:
            memory.whole = SlicewiseGzip(memory.session.mask)
        return memory.whole.gzip(prefix)

    def packed_gzip(self) -> bytes:
        """The whole mask, eight voxels a byte, as one gzip stream (see `PackedGzip`)."""
        memory = self._opened()
        if memory.packed is None:
            memory.packed = PackedGzip(memory.session.mask)
        return memory.packed.gzip()

    # What follows is for `PromptService`.

    @property
    def waiting(self) -> int:
        """How many callers wait for this session while somebody has it."""
        return self._turn.waiting

    @property
    def size(self) -> int | None:
        """About how many bytes the session takes in memory; None while it is parked."""
        memory = self._memory
        return None if memory is None else memory.size

    @property
    def busy(self) -> bool:
        return self._turn.taken

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the session to oneself. Raises `UnknownSession` if it was closed meanwhile."""
        self._turn.acquire()
        try:
            if self.closed:
                raise UnknownSession(OVER)
            self.used = time.monotonic()
            try:
                yield
            finally:
                self.used = time.monotonic()
        finally:
            self._turn.release()

    @contextmanager
    def held(self, wait: bool) -> Iterator[bool]:
        """The same for the server's own housekeeping: closed or not, and it doesn't count as use. False if somebody
        has the session and `wait` is not set."""
        if wait:
            self._turn.acquire()
        elif not self._turn.try_acquire():
            yield False
            return
        try:
            yield True
        finally:
            self._turn.release()

    def perform(self, memory: Memory, step: Step) -> Region | None:
        """Do one step on the device, without logging it; the region that it changed."""
        work = partial(perform, memory.session, step)
        region = self._context.device.run(work, Priority.PROMPT, self.record.owner)
        memory.touch(region)
        return region

    def keep_snapshot(self) -> None:
        """Take a snapshot if there is something new to keep."""
        if self.ahead and self._memory is not None:
            self.ahead = False
            self._context.snapshots.keep(self.record, self._memory.session)

    def release(self) -> None:
        """Give the memory back."""
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.session.close()

    def _opened(self) -> Memory:
        if self._memory is None:
            if self.closed:
                raise UnknownSession(OVER)
            self._memory = self._context.restore(self)
        return self._memory

    def _take(self, step: Step) -> Region | None:
        """Do one step, and log it before anybody is told."""
        memory = self._opened()
        try:
            region = self.perform(memory, step)
            if self.logged:
                self._context.images.ready(self.record.case_id)  # a click whose image a kill may take is worth nothing
                self._context.log.append(self.record.id, step)
                self.ahead = True
        except SegloopError:
            raise  # refused, and nothing has changed
        except BaseException:
            # Memory may now hold what the log doesn't (a full disk, a fault in a library), and the log is what counts.
            if self.logged:
                self.release()
            raise
        return region


def perform(session: InteractiveSession, step: Step) -> Region | None:
    """Do one step of a log; the region that it changed."""
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
