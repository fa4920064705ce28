"""Opening prompt sessions, handing them out, and giving their memory back.

A session is open (its model's state is in memory) or parked (only its log and a snapshot are, on disk). Idle ones and
those in the way of others are parked; the next use restores it (`restore`), and nobody above this package notices, not
even across a restart. Sessions without a `Viewer` have no log: their dialect sends every prompt each time, and parked
they are over.

Two ways lead to a session: its id (`session`), and a slot, where an owner has one session at a time (`slot`).

Locks, in the order in which they are taken: a slot's, a session's, `_lock`. A slot's and a session's are held while a
caller has them, prompts included, and may wait for the device thread; who has one waits for no second one of the same
kind. `_lock` guards the tables of sessions and slots and is held for moments.
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
from app.services.prompting.images import SentImage, SentImages
from app.services.prompting.log import SessionLog, SessionRecord, Viewer
from app.services.prompting.restore import Restorer
from app.services.prompting.session import OVER, Context, Memory, Session
from app.services.prompting.snapshots import Snapshots

BUSY_SECONDS = 60.0
"""A session used within this time is not parked to make room for another owner's."""

REST_SECONDS = 10.0
"""A session that something was done in gets its snapshot when nobody has used it for so long."""

MOST_SLOTS = 1024
"""With more slots than this, those whose session isn't in memory are forgotten."""


@dataclass(eq=False)
class _Slot:
    """`session_id` is "" if there is none, and None as long as nobody has looked into the records."""

    session_id: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class PromptService:
    """Opens sessions within a limit of memory and hands them out, to one caller at a time."""

    def __init__(self, project: Project, cases: CaseService, models: ModelService, device: Device) -> None:
        self.images = SentImages(project, cases)
        self.log = SessionLog(project.paths.sessions)
        self.snapshots = Snapshots(self.log)
        self._cases = cases
        self._models = models
        self._settings = project.settings.sessions
        restorer = Restorer(cases, models, self.images, self.log, self.snapshots, self._start)
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
    ) -> str:
        """A new session's id, which can't be guessed. `image` is a case's id, or what a viewer sent. With a `viewer`
        what is done in it is logged.

        Raises `UnknownCase`, `UnknownModel`, `BadInput` for an image the model can't take, and `ResourceExhausted` if
        memory for sessions is used up by others; the owner's own oldest sessions make room.
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
        )
        if viewer is not None:
            self.log.create(record)
        with self._lock:
            self._table[record.id] = Session(record, viewer is not None, self._context, memory)
        return record.id

    @contextmanager
    def session(self, session_id: str, owner: str) -> Iterator[Session]:
        """A session, for this caller alone until the block ends. Raises `UnknownSession`."""
        session = self._found(session_id)
        # Another owner's session is answered like none at all: ids are not to be tried out.
        if session.record.owner != owner:
            raise UnknownSession(OVER)
        with session.turn():
            yield session

    @contextmanager
    def slot(self, owner: str, key: Hashable = None) -> Iterator[Slot]:
        """The slot of an owner, for this caller alone until the block ends. An owner with several tells them apart by a
        `key`. After a restart, only the one without a key still has the session that the owner opened last."""
        with self._lock:
            if len(self._slots) > MOST_SLOTS:
                self._forget_slots()
            state = self._slots.setdefault((owner, key), _Slot(None if key is None else ""))
        with state.lock:
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
        """Give a session's memory back; nothing happens if it is closed already. If anything was done in it, its log
        stays until it is submitted or old."""
        try:
            session = self._found(session_id)  # one that hasn't been used since a restart is closed too
        except UnknownSession:
            return
        if session.record.owner != owner:
            return
        with session.held(wait=True):
            session.closed = True
            session.keep_snapshot()
            session.release()
            if session.logged and self.log.count(session_id):
                self.log.mark_closed(session_id)
            elif session.logged:
                self.log.remove(session_id)
            with self._lock:
                self._table.pop(session_id, None)

    def forget(self, session_id: str, owner: str) -> None:
        """Close a session and delete everything that was kept of it."""
        self.close(session_id, owner)
        self.snapshots.ready(session_id)  # or it would be written after all
        self.log.remove(session_id)

    def keep_resting(self) -> None:
        """Take snapshots of the sessions that nobody has used for a moment, so that a kill costs little."""
        now = time.monotonic()
        for session in self._sessions():
            if session.ahead and now - session.used > REST_SECONDS:
                with session.held(wait=False) as free:
                    if free:
                        session.keep_snapshot()

    def sweep(self) -> None:
        """Park sessions nobody has used for a while, and forget logs that are old."""
        self._park_where(lambda session: time.monotonic() - session.used > self._settings.idle_seconds)
        self.log.remove_older(self._settings.keep_seconds)

    def close_all(self) -> None:
        """Give all memory back; logs stay."""
        self._park_where(lambda session: True)

    def shutdown(self) -> None:
        """Give all memory back and wait for everything that is on its way to the disk."""
        self.close_all()
        self.snapshots.drain()
        self.images.drain()

    @property
    def memory(self) -> tuple[int, int]:
        """`(sessions in memory, bytes they take, about)`."""
        sizes = [size for session in self._sessions() if (size := session.size) is not None]
        return len(sizes), sum(sizes)

    def is_open(self, session_id: str) -> bool:
        """Whether a session is in memory."""
        with self._lock:
            session = self._table.get(session_id)
        return session is not None and session.size is not None

    def waiting(self, session_id: str) -> int:
        """How many callers wait for a session that somebody has."""
        with self._lock:
            session = self._table.get(session_id)
        return session.waiting if session is not None else 0

    def _admitted(
        self, owner: str, image: SentImage, model: InteractiveModel, options: Mapping[str, Option]
    ) -> tuple[str, Memory]:
        digest = self.images.digest(image.volume)
        # Started first: an image that the model can't take isn't kept.
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
            raise UnknownSession(OVER)
        with self._lock:
            return self._table.setdefault(session_id, Session(record, True, self._context))

    def _forget_slots(self) -> None:
        """Call with `_lock` held. A slot without a key is found again in the records."""
        for name, slot in list(self._slots.items()):
            session = self._table.get(slot.session_id or "")
            if not slot.lock.locked() and (session is None or session.size is None):
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
        """Park the session that is missed least: the owner's oldest, else the one idle for longest."""
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
                self.snapshots.ready(session.record.id)  # so that what is parked is on disk, or can be forgotten

    def _park(self, session: Session, wait: bool) -> bool:
        """Give a session's memory back; one without a log is over. False if it was in use."""
        with session.held(wait) as free:
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
    """One caller's hold on a slot. A new image and a prompt never meet halfway."""

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
                state.session_id = ""  # it was closed or forgotten meanwhile

    @property
    def empty(self) -> bool:
        return self._session is None

    @property
    def session(self) -> Session:
        """The session in this slot, for as long as the slot is held. Raises `UnknownSession` if there is none."""
        if self._session is None:
            raise UnknownSession(OVER)
        return self._session

    def open(
        self, image: str | SentImage, model: str, options: Mapping[str, Option], viewer: Viewer | None = None
    ) -> Session:
        """Open a session in place of the one before. Raises as `PromptService.open`; then the slot is empty."""
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
        """Let others have the session. Called when the block ends."""
        self._session = None
        self._turn.close()

    def _enter(self, session_id: str) -> Session:
        self._session = self._turn.enter_context(self._service.session(session_id, self._owner))
        return self._session
