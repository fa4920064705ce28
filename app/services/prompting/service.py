"""Prompt sessions: one person, one volume, one mask in progress, one log of what was done.

A session is open (its model's state is in memory) or parked (only its log and a snapshot are, on disk). Idle ones and
those in the way of others are parked; the next use restores it (`restore_plans`), and nobody above this module
notices, not even across a restart. Sessions without a `Viewer` have no log: their dialect sends every prompt each
time.

Locks: `_lock` guards the table of sessions and is held for moments only. Each session has its own lock, held while its
prompts run; who holds it may wait for the device thread, never for another session's lock. `_lock` is taken inside it.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveModel, Option
from app.core.prompt import InitialMask, Prompt, Region
from app.core.volume import Geometry, Volume
from app.errors import BadFile, IntegrityError, NoRoom, SegloopError, UnknownCase, UnknownSession
from app.models.device import Device, Priority
from app.services.cases import CaseService
from app.services.models import ModelService
from app.services.prompting.images import SentImages, Space
from app.services.prompting.log import SessionLog, SessionRecord, Step, Viewer
from app.services.prompting.memory import Change, SessionMemory, perform
from app.services.prompting.restore_plans import RestorePlan, RestorePlans
from app.services.prompting.snapshots import Snapshots
from app.settings import SessionSettings

logger = logging.getLogger(__name__)

__all__ = ["Change", "PromptService", "Viewer"]

T = TypeVar("T")

BUSY_SECONDS = 60.0
"""A session used within this time is not parked to make room for another owner's."""

REST_SECONDS = 10.0
"""A session that something was done in gets its snapshot when nobody has used it for so long."""

OVER = "this session is over; open the image again"


@dataclass(eq=False)
class _Entry:
    """A session in the table. `state` is None while it is parked; `used` is on the monotonic clock; `ahead` says that
    it has done more than its snapshot knows."""

    record: SessionRecord
    logged: bool
    state: SessionMemory | None = None
    used: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: bool = False
    ahead: bool = False


class PromptService:
    """Opens sessions within a limit of memory and runs their prompts on the device thread, owners taking turns."""

    def __init__(
        self,
        cases: CaseService,
        models: ModelService,
        device: Device,
        sent: SentImages,
        log: SessionLog,
        snapshots: Snapshots,
        ways: RestorePlans,
        settings: SessionSettings,
    ) -> None:
        self._cases = cases
        self._models = models
        self._device = device
        self._sent = sent
        self._log = log
        self._snapshots = snapshots
        self._ways = ways
        self._settings = settings
        self._table: dict[str, _Entry] = {}
        self._newest: dict[str, str] = {}
        self._lock = threading.Lock()

    def open(
        self, owner: str, case_id: str, model: str, options: Mapping[str, Option], viewer: Viewer | None = None
    ) -> str:
        """A new session's id, which can't be guessed. With a `viewer` what is done in it is logged.

        Raises `UnknownCase`, `UnknownModel`, `BadInput` for an image the model can't take, and `NoRoom` if memory for
        sessions is used up by others; the owner's own oldest sessions make room.
        """
        volume = self._cases.volume(case_id)
        state = self._start(owner, volume, self._models.interactive(model), options)
        return self._enter(owner, case_id, True, model, options, viewer, state)

    def open_image(
        self,
        owner: str,
        image: Volume,
        placed: bool,
        model: str,
        options: Mapping[str, Option],
        viewer: Viewer,
        space: Space | None = None,
    ) -> str:
        """The same for voxels that a viewer sent. `placed` says that their geometry came with them, `space` where they
        lie if `SentImages.space` gave it."""
        digest = self._sent.digest(image)
        # Started first: an image that the model can't take isn't kept.
        state = self._start(owner, image, self._models.interactive(model), options)
        try:
            case_id = self._sent.admit(image, digest.result(), space)
        except BaseException:
            state.session.close()
            raise
        return self._enter(owner, case_id, placed, model, options, viewer, state)

    def newest(self, owner: str) -> str | None:
        """The session that an owner opened last and nobody closed, also after a restart."""
        with self._lock:
            known = self._newest.get(owner)
        if known is None:
            record = self._log.newest(owner)
            known = record.id if record is not None else ""
            with self._lock:
                known = self._newest.setdefault(owner, known)
        return known or None

    def add(
        self, session_id: str, owner: str, prompts: Sequence[Prompt], predict: bool = True, unchecked: bool = False
    ) -> Change:
        """Take prompts in their order, with one prediction each; says what they changed together.

        Raises `BadPrompt` at the first that can't be used; those before it count.
        """

        def work(entry: _Entry, state: SessionMemory) -> Change:
            changed: Region | None = None
            for prompt in prompts:
                step = Step("add", prompt, predict, unchecked)
                region = self._take(entry, state, step)
                changed = region if changed is None else changed if region is None else changed.join(region)
            return state.change(changed)

        return self._with(session_id, owner, work)

    def predict(self, session_id: str, owner: str, full_refine: bool = False) -> Change:
        """Predict from prompts that were only noted."""
        step = Step("predict", full_refine=full_refine)
        return self._with(session_id, owner, lambda entry, state: state.change(self._take(entry, state, step)))

    def undo(self, session_id: str, owner: str) -> Change | None:
        """Take the last prompt back; None if there is nothing to take back."""

        def work(entry: _Entry, state: SessionMemory) -> Change | None:
            if not state.session.undoable:
                return None
            return state.change(self._take(entry, state, Step("undo")))

        return self._with(session_id, owner, work)

    def reset(self, session_id: str, owner: str) -> None:
        """Forget the prompts and empty the mask."""
        self._with(session_id, owner, lambda entry, state: self._take(entry, state, Step("reset")))

    def set_options(self, session_id: str, owner: str, options: Mapping[str, Option]) -> None:
        """Change a model's options for the prompts to come. Raises `BadOption`."""
        step = Step("options", options=options)
        self._with(session_id, owner, lambda entry, state: self._take(entry, state, step))

    def mask(self, session_id: str, owner: str) -> NDArray[np.uint8]:
        """A copy of the mask, `(k, j, i)`."""
        return self._with(session_id, owner, lambda entry, state: state.session.mask.copy())

    def gzip(self, session_id: str, owner: str, prefix: bytes = b"") -> bytes:
        """`prefix` and the whole mask as one gzip stream; only slices changed since the last call are compressed."""
        return self._with(session_id, owner, lambda entry, state: state.gzip(prefix))

    def packed_gzip(self, session_id: str, owner: str) -> bytes:
        """The whole mask, eight voxels a byte, as one gzip stream (see `PackedGzip`)."""
        return self._with(session_id, owner, lambda entry, state: state.packed_gzip())

    def geometry(self, session_id: str, owner: str) -> Geometry:
        return self._with(session_id, owner, lambda entry, state: state.geometry)

    def record(self, session_id: str) -> SessionRecord:
        """What a session was opened on. Raises `UnknownSession`."""
        return self._entry(session_id).record

    def close(self, session_id: str, owner: str) -> None:
        """Give a session's memory back; nothing happens if it is closed already. If anything was done in it, its log
        stays until it is submitted or old."""
        try:
            entry = self._entry(session_id)  # one that hasn't been used since a restart is closed too
        except UnknownSession:
            return
        if entry.record.owner != owner:
            return
        with self._lock:
            self._table.pop(session_id, None)
            if self._newest.get(owner) == session_id:
                self._newest[owner] = ""
        with entry.lock:
            entry.closed = True
            self._keep(entry)
            _release(entry)
            if not entry.logged:
                return
            if self._log.count(session_id):
                self._log.mark_closed(session_id)
            else:
                self._log.remove(session_id)

    def forget(self, session_id: str, owner: str) -> None:
        """Close a session and delete everything that was kept of it."""
        self.close(session_id, owner)
        self._snapshots.ready(session_id)  # or it would be written after all
        self._log.remove(session_id)

    def keep_resting(self) -> None:
        """Take snapshots of the sessions that nobody has used for a moment, so that a kill costs little."""
        now = time.monotonic()
        with self._lock:
            entries = list(self._table.values())
        for entry in entries:
            if entry.ahead and now - entry.used > REST_SECONDS and entry.lock.acquire(blocking=False):
                try:
                    self._keep(entry)
                finally:
                    entry.lock.release()

    def sweep(self) -> None:
        """Park sessions nobody has used for a while, and forget logs that are old."""
        self._park_where(lambda entry: time.monotonic() - entry.used > self._settings.idle_seconds)
        self._log.remove_older(self._settings.keep_seconds)

    def close_all(self) -> None:
        """Give all memory back; logs stay."""
        self._park_where(lambda entry: True)

    @property
    def memory(self) -> tuple[int, int]:
        """`(sessions in memory, bytes they take, about)`."""
        with self._lock:
            states = [entry.state for entry in self._table.values() if entry.state is not None]
        return len(states), sum(state.size for state in states)

    def is_open(self, session_id: str) -> bool:
        """Whether a session is in memory."""
        with self._lock:
            entry = self._table.get(session_id)
        return entry is not None and entry.state is not None

    def _start(
        self, owner: str, volume: Volume, model: InteractiveModel, options: Mapping[str, Option]
    ) -> SessionMemory:
        size = model.session_bytes(volume) + volume.geometry.voxel_count
        self._make_room(owner, size)
        return SessionMemory(model, model.open(volume, options), volume.geometry, size)

    def _enter(
        self,
        owner: str,
        case_id: str,
        placed: bool,
        model: str,
        options: Mapping[str, Option],
        viewer: Viewer | None,
        state: SessionMemory,
    ) -> str:
        record = SessionRecord(
            id=secrets.token_urlsafe(24),
            owner=owner,
            case_id=case_id,
            model=model,
            model_version=state.session.version,
            options=dict(options),
            viewer=viewer or Viewer("", ""),
            shape=state.geometry.shape,
            placed=placed,
            opened=time.time(),
        )
        if viewer is not None:
            self._log.create(record)
        with self._lock:
            self._table[record.id] = _Entry(record, viewer is not None, state)
            self._newest[owner] = record.id
        return record.id

    def _take(self, entry: _Entry, state: SessionMemory, step: Step) -> Region | None:
        """Do one step, and log it before anybody is told."""
        try:
            region = self._do(entry, state, step)
            if entry.logged:
                self._sent.ready(entry.record.case_id)  # a click whose image a kill may take is worth nothing
                self._log.append(entry.record.id, step)
                entry.ahead = True
        except SegloopError:
            raise  # refused, and nothing has changed
        except BaseException:
            # Memory may now hold what the log doesn't (a full disk, a fault in a library), and the log is what counts.
            if entry.logged:
                _release(entry)
            raise
        return region

    def _do(self, entry: _Entry, state: SessionMemory, step: Step) -> Region | None:
        work = partial(perform, state.session, step)
        region = self._device.run(work, Priority.PROMPT, entry.record.owner)
        state.touch(region)
        return region

    def _with(self, session_id: str, owner: str, work: Callable[[_Entry, SessionMemory], T]) -> T:
        entry = self._entry(session_id)
        # Another owner's session is answered like none at all: ids are not to be tried out.
        if entry.record.owner != owner:
            raise UnknownSession(OVER)
        with entry.lock:
            if entry.closed:
                raise UnknownSession(OVER)
            entry.used = time.monotonic()
            if entry.state is None:
                entry.state = self._restored(entry)
            try:
                return work(entry, entry.state)
            finally:
                entry.used = time.monotonic()

    def _entry(self, session_id: str) -> _Entry:
        with self._lock:
            entry = self._table.get(session_id)
        if entry is not None:
            return entry
        record = self._log.find(session_id)
        if record is None:
            raise UnknownSession(OVER)
        with self._lock:
            return self._table.setdefault(session_id, _Entry(record, logged=True))

    def _restored(self, entry: _Entry) -> SessionMemory:
        """A parked session's memory, made anew from its snapshot and its log."""
        record = entry.record
        try:
            self._sent.ready(record.case_id)
            volume = self._cases.volume(record.case_id)
        except (UnknownCase, BadFile) as error:
            raise UnknownSession("this session's image is no longer here; open the image again") from error
        failed: SegloopError = UnknownSession(OVER)
        for way in self._ways.of(record):
            try:
                return self._back(entry, volume, way)
            except (BadFile, IntegrityError) as error:
                logger.warning("session %s could not come back as planned: %s", record.name, error)
                failed = error
        raise failed

    def _back(self, entry: _Entry, volume: Volume, way: RestorePlan) -> SessionMemory:
        """Go one way back. Raises `BadFile` or `IntegrityError` if it doesn't fit."""
        state = self._start(entry.record.owner, volume, way.model, entry.record.options)
        try:
            if way.version and way.version != state.session.version:
                raise BadFile(f"version {state.session.version} is served now, not {way.version}")
            if way.snapshot is not None:
                state.session.restore(way.snapshot.state, way.snapshot.mask)
            for step in way.steps:
                self._do(entry, state, step)
            if way.adopted is not None:
                self._adopt(entry, state, way.adopted)
        except BaseException:
            state.session.close()
            raise
        entry.ahead = way.snapshot is None or bool(way.steps)
        return state

    def _adopt(self, entry: _Entry, state: SessionMemory, mask: NDArray[np.uint8]) -> None:
        """Go on from a mask with other weights, for good."""
        step = Step("adopt", InitialMask(mask != 0), version=state.session.version)
        self._do(entry, state, step)
        self._log.append(entry.record.id, step)
        logger.warning(
            "session %s goes on with version %s of %s from the mask that it had; what made that mask is no longer here",
            entry.record.name,
            state.session.version,
            entry.record.model,
        )

    def _keep(self, entry: _Entry) -> None:
        """Take a snapshot if there is something new to keep. Call with the session's lock held."""
        if entry.ahead and entry.state is not None:
            entry.ahead = False
            self._snapshots.keep(entry.record, entry.state.session)

    def _make_room(self, owner: str, size: int) -> None:
        limit = self._settings.max_bytes
        if size > limit:
            raise NoRoom(
                f"this image needs about {size >> 20} MiB to be segmented interactively, and the server allows"
                f" {limit >> 20} MiB for all sessions (setting sessions.max_bytes)",
                retry_after=3600,
            )
        while self.memory[1] + size > limit:
            if not self._park_one(owner):
                raise NoRoom("all memory for sessions is in use by others; try again in a few minutes", retry_after=60)

    def _park_one(self, owner: str) -> bool:
        """Park the session that is missed least: the owner's oldest, else the one idle for longest."""
        now = time.monotonic()
        with self._lock:
            parkable = [
                (entry.record.owner != owner, entry.used, key)
                for key, entry in self._table.items()
                if entry.state is not None
                and not entry.lock.locked()
                and (entry.record.owner == owner or (entry.logged and now - entry.used > BUSY_SECONDS))
            ]
            entries = [self._table[key] for _, _, key in sorted(parkable)]
        return any(self._park(entry, wait=False) for entry in entries)

    def _park_where(self, condition: Callable[[_Entry], bool]) -> None:
        with self._lock:
            entries = [entry for entry in self._table.values() if entry.state is not None and condition(entry)]
        for entry in entries:
            self._park(entry, wait=True)
            self._snapshots.ready(entry.record.id)  # so that what is parked is on disk, or can be forgotten

    def _park(self, entry: _Entry, wait: bool) -> bool:
        """Give a session's memory back; one without a log is over. False if it was in use."""
        if not entry.lock.acquire(blocking=wait):
            return False
        try:
            if not entry.logged:
                entry.closed = True
                with self._lock:
                    self._table.pop(entry.record.id, None)
            self._keep(entry)
            _release(entry)
        finally:
            entry.lock.release()
        return True


def _release(entry: _Entry) -> None:
    """Give a session's memory back. Call with its lock held."""
    state, entry.state = entry.state, None
    if state is not None:
        state.session.close()
