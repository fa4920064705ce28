"""Opening, locking, parking and closing prompt sessions.

A session is open (its model's state is in memory) or parked (only its log and a snapshot, on disk). Sessions are parked
when they are idle or when others need the memory; the next use restores them (`restore`). Callers don't notice, not
even after a restart. Sessions without a `Viewer` have no log: their dialect sends every prompt each time, and parking
closes them.

A session is reached by its id (`session`), or by a slot, where an owner has one session at a time (`slot`).

Locks, in the order in which they are taken: a slot's, a session's, `_lock`. A slot's and a session's are held for the
whole `with` block, prompts included, and their holder may wait for the device thread; no thread holds two of the same
kind. `_lock` guards the tables of sessions and slots and is held briefly.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from app.core.model import InteractiveModel, Option
from app.core.volume import Volume
from app.errors import ResourceExhausted, UnknownSession
from app.models.device import Device
from app.project.project import Project
from app.services.cases import CaseService
from app.services.models import ModelService
from app.services.prompting.counting_lock import CountingLock
from app.services.prompting.ending import PatchProgress
from app.services.prompting.history import open_history
from app.services.prompting.images import SentImage, SentImages
from app.services.prompting.log import SessionLog, SessionRecord, Viewer
from app.services.prompting.restore import Restorer
from app.services.prompting.session import SESSION_OVER, Context, Memory, Session
from app.services.prompting.snapshots import Snapshots

BUSY_SECONDS = 60.0
"""A session used within this time is not parked to make room for another owner's."""

SNAPSHOT_IDLE_SECONDS = 10.0
"""A session with new steps gets a snapshot once it is idle for this long."""

MAX_SLOTS = 1024
"""With more slots than this, those whose session isn't in memory are evicted."""


@dataclass(eq=False)
class _Slot:
    """`session_id` is "" for an empty slot, and None until the logs were searched for the owner's last session."""

    session_id: str | None = None
    lock: CountingLock = field(default_factory=CountingLock)


class PromptService:
    """Opens sessions within a memory limit, and gives one caller at a time access to each. Thread-safe."""

    def __init__(self, project: Project, cases: CaseService, models: ModelService, device: Device) -> None:
        self.images = SentImages(project, cases)
        self.log = SessionLog(project.paths.sessions)
        self.snapshots = Snapshots(self.log)
        self._cases = cases
        self._models = models
        self._settings = project.settings.sessions
        undo_bytes = self._settings.undo_bytes
        restorer = Restorer(cases, models, self.images, self.log, self.snapshots, self._start, undo_bytes)
        self._context = Context(device, self.images, self.log, self.snapshots, restorer.restore)
        self._table: dict[str, Session] = {}
        self._slots: dict[tuple[str, Hashable], _Slot] = {}
        self._lock = threading.Lock()

    def open(
        self,
        owner: str,
        image: str | SentImage,
        model: str,
        options: Mapping[str, Option],
        viewer: Viewer | None = None,
        structure: str = "",
    ) -> str:
        """Open a session and return its id, which can't be guessed. `image` is a case's id, or an image from a viewer.
        With a `viewer` the session's steps are logged. `structure` is what it is drawn for, if that is known.

        If memory is short, the owner's own oldest sessions are parked first. Raises `UnknownCase`, `UnknownModel`,
        `BadInput` for an image the model can't take, and `ResourceExhausted` if other owners' sessions need the memory.
        """
        interactive = self._models.interactive(model)
        if isinstance(image, SentImage):
            case_id, memory = self._admitted(owner, image, interactive, options)
        else:
            case_id, memory = image, self._start(owner, self._cases.volume(image), interactive, options)
        record = SessionRecord(
            id=secrets.token_urlsafe(24),
            owner=owner,
            case_id=case_id,
            model=model,
            model_version=memory.session.version,
            options=dict(options),
            viewer=viewer or Viewer("", ""),
            shape=memory.geometry.shape,
            placed=image.placed if isinstance(image, SentImage) else True,
            opened=time.time(),
            structure=structure,
        )
        if viewer is not None:
            self.log.create(record)
            memory.keep_history(open_history(record, self.log, self._settings.undo_bytes, memory.session))
        with self._lock:
            self._table[record.id] = Session(record, viewer is not None, self._context, memory)
        return record.id

    @contextmanager
    def session(self, session_id: str, owner: str, reading: bool = False) -> Iterator[Session]:
        """Lock a session until the block ends, and yield it. A prediction in progress ends at its next patch for it
        unless it is only `reading`. Raises `UnknownSession`."""
        session = self._found(session_id)
        # Another owner's session gives the same error as an unknown one, so that ids can't be probed.
        if session.record.owner != owner:
            raise UnknownSession(SESSION_OVER)
        with session.locked(overtaking=not reading):
            yield session

    @contextmanager
    def slot(self, owner: str, key: Hashable = None) -> Iterator[Slot]:
        """Lock an owner's slot until the block ends, and yield it. A `key` distinguishes several slots of one owner.
        After a restart, only the slot without a key has the session that the owner opened last."""
        with self._lock:
            if len(self._slots) > MAX_SLOTS:
                self._evict_slots()
            state = self._slots.setdefault((owner, key), _Slot(None if key is None else ""))
        with state.lock.held():
            if state.session_id is None:
                newest = self.log.newest(owner)
                state.session_id = newest.id if newest is not None else ""
            slot = Slot(self, owner, state)
            try:
                yield slot
            finally:
                slot.leave()

    def record(self, session_id: str) -> SessionRecord:
        """What a session was opened on. Raises `UnknownSession`."""
        return self._found(session_id).record

    def close(self, session_id: str, owner: str) -> None:
        """Close a session and free its memory. Idempotent. A log with steps is kept so that the session can be
        submitted, and deleted when it is old; an empty log is deleted at once, and so are the states for undo."""
        try:
            session = self._found(session_id)  # also one that hasn't been used since a restart
        except UnknownSession:
            return
        if session.record.owner != owner:
            return
        with session.locked_for_maintenance(wait=True):
            session.closed = True
            session.keep_snapshot()
            session.release()
            if session.logged and self.log.count(session_id):
                self.log.mark_closed(session_id)
                self.log.remove_states(session_id)
            elif session.logged:
                self.log.remove(session_id)
            with self._lock:
                self._table.pop(session_id, None)

    def flush(self, session_id: str, owner: str) -> None:
        """Flush a session's steps to the medium. Raises `UnknownSession`."""
        if self.record(session_id).owner != owner:
            raise UnknownSession(SESSION_OVER)
        self.log.flush_all(session_id)

    def forget(self, session_id: str, owner: str) -> None:
        """Close a session and delete its log and snapshot."""
        self.close(session_id, owner)
        self.snapshots.wait_written(session_id)  # a pending write must not bring the folder back
        self.log.remove(session_id)

    def snapshot_idle(self) -> None:
        """Take snapshots of sessions that are idle, so that little has to be replayed after a kill."""
        now = time.monotonic()
        for session in self._sessions():
            if session.has_unsaved_steps and now - session.used > SNAPSHOT_IDLE_SECONDS:
                with session.locked_for_maintenance(wait=False) as free:
                    if free:
                        session.keep_snapshot()

    def sweep(self) -> None:
        """Park idle sessions and delete old logs, as the settings say."""
        self._park_where(lambda session: time.monotonic() - session.used > self._settings.idle_seconds)
        self.log.remove_older(self._settings.keep_seconds)

    def close_all(self) -> None:
        """Park every session; logs stay."""
        self._park_where(lambda session: True)

    def shutdown(self) -> None:
        """Park every session, wait for pending writes, and stop the writers."""
        self.close_all()
        self.snapshots.drain()
        self.images.drain()

    @property
    def memory(self) -> tuple[int, int]:
        """`(sessions in memory, their approximate size in bytes)`."""
        sizes = [size for session in self._sessions() if (size := session.size) is not None]
        return len(sizes), sum(sizes)

    def is_open(self, session_id: str) -> bool:
        """Whether a session is in memory."""
        with self._lock:
            session = self._table.get(session_id)
        return session is not None and session.size is not None

    def waiting(self, session_id: str) -> int:
        """How many callers wait for a session's lock. Doesn't wait for the lock itself."""
        with self._lock:
            session = self._table.get(session_id)
        return session.waiting if session is not None else 0

    def progress(self) -> list[PatchProgress]:
        """How far the predictions in progress are, of all owners. Waits for no lock of a session."""
        return [one for session in self._sessions() if (one := session.progress) is not None]

    def _admitted(
        self, owner: str, image: SentImage, model: InteractiveModel, options: Mapping[str, Option]
    ) -> tuple[str, Memory]:
        digest = self.images.digest(image.volume)
        # The model's session is opened first: an image that the model can't take isn't stored.
        memory = self._start(owner, image.volume, model, options)
        try:
            return self.images.admit(image, digest.result()), memory
        except BaseException:
            memory.session.close()
            raise

    def _start(self, owner: str, volume: Volume, model: InteractiveModel, options: Mapping[str, Option]) -> Memory:
        size = model.session_bytes(volume) + volume.geometry.voxel_count
        self._make_room(owner, size)
        return Memory(model, model.open(volume, options), volume.geometry, size)

    def _sessions(self) -> list[Session]:
        with self._lock:
            return list(self._table.values())

    def _found(self, session_id: str) -> Session:
        with self._lock:
            session = self._table.get(session_id)
        if session is not None:
            return session
        record = self.log.find(session_id)
        if record is None:
            raise UnknownSession(SESSION_OVER)
        with self._lock:
            return self._table.setdefault(session_id, Session(record, True, self._context))

    def _evict_slots(self) -> None:
        """Call with `_lock` held. The session of a slot without a key is found again in the logs."""
        for name, slot in list(self._slots.items()):
            session = self._table.get(slot.session_id or "")
            if not slot.lock.locked and (session is None or session.size is None):
                del self._slots[name]

    def _make_room(self, owner: str, size: int) -> None:
        limit = self._settings.max_bytes
        if size > limit:
            raise ResourceExhausted(
                f"this image needs about {size >> 20} MiB to be segmented interactively, and the server allows"
                f" {limit >> 20} MiB for all sessions (setting sessions.max_bytes)",
                retry_after=3600,
            )
        while self.memory[1] + size > limit:
            if not self._park_one(owner):
                raise ResourceExhausted(
                    "all memory for sessions is in use by others; try again in a few minutes", retry_after=60
                )

    def _park_one(self, owner: str) -> bool:
        """Park the owner's least recently used session, else that of the other owners; False if none can be parked."""
        now = time.monotonic()

        def may_be_parked(session: Session) -> bool:
            if session.size is None or session.busy:
                return False
            return session.record.owner == owner or (session.logged and now - session.used > BUSY_SECONDS)

        parkable = [session for session in self._sessions() if may_be_parked(session)]
        parkable.sort(key=lambda session: (session.record.owner != owner, session.used))
        return any(self._park(session, wait=False) for session in parkable)

    def _park_where(self, condition: Callable[[Session], bool]) -> None:
        for session in self._sessions():
            if session.size is not None and condition(session):
                self._park(session, wait=True)
                self.snapshots.wait_written(session.record.id)  # once parked, the session is on disk

    def _park(self, session: Session, wait: bool) -> bool:
        """Take a snapshot of a session and free its memory; one without a log is closed. False if it was in use."""
        with session.locked_for_maintenance(wait) as free:
            if not free:
                return False
            if not session.logged:
                session.closed = True
                with self._lock:
                    self._table.pop(session.record.id, None)
            session.keep_snapshot()
            session.release()
        return True


class Slot:
    """A locked slot. Holding it makes opening a new image and prompting on it mutually exclusive."""

    def __init__(self, service: PromptService, owner: str, state: _Slot) -> None:
        self._service = service
        self._owner = owner
        self._state = state
        self._turn = ExitStack()
        self._session: Session | None = None
        if state.session_id:
            try:
                self._enter(state.session_id)
            except UnknownSession:
                state.session_id = ""  # closed or deleted meanwhile

    @property
    def empty(self) -> bool:
        """Whether the slot has no session."""
        return self._session is None

    @property
    def session(self) -> Session:
        """The session in this slot, valid while the slot is held. Raises `UnknownSession` if there is none."""
        if self._session is None:
            raise UnknownSession(SESSION_OVER)
        return self._session

    def open(
        self, image: str | SentImage, model: str, options: Mapping[str, Option], viewer: Viewer | None = None
    ) -> Session:
        """Close the slot's session and open a new one. Raises as `PromptService.open`; then the slot is empty."""
        self.close()
        session_id = self._service.open(self._owner, image, model, options, viewer)
        self._state.session_id = session_id
        return self._enter(session_id)

    def close(self) -> None:
        """Close the session, if there is one."""
        self.leave()
        session_id, self._state.session_id = self._state.session_id, ""
        if session_id:
            self._service.close(session_id, self._owner)

    def leave(self) -> None:
        """Release the session's lock. Called when the block ends."""
        if self._session is not None:
            self._session.slot_lock = None
        self._session = None
        self._turn.close()

    def _enter(self, session_id: str) -> Session:
        self._session = self._turn.enter_context(self._service.session(session_id, self._owner))
        self._session.slot_lock = self._state.lock
        return self._session
