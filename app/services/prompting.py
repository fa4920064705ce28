"""Prompt sessions: one person, one volume, one mask in progress.

Locks: `_lock` guards the table of sessions and is held for moments only. Each session has its own lock, held while its
prompts run; who holds it may wait for the device thread, never for `_lock` or for another session.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveSession, Option
from app.core.prompt import Prompt
from app.core.volume import Geometry
from app.dicom.slicewise_gzip import SlicewiseGzip
from app.errors import NoRoom, UnknownSession
from app.models.device import Device, Priority
from app.services.cases import CaseDesk
from app.services.models import ModelDesk

T = TypeVar("T")


@dataclass(eq=False)
class _Open:
    """An open session. `used` is on the monotonic clock."""

    owner: str
    case_id: str
    model: str
    session: InteractiveSession
    geometry: Geometry
    encoder: SlicewiseGzip
    bytes: int
    used: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: bool = False


class PromptDesk:
    """Opens sessions within a limit of memory and runs their prompts on the device thread, owners taking turns."""

    def __init__(self, cases: CaseDesk, models: ModelDesk, device: Device, max_bytes: int, idle_seconds: float) -> None:
        self._cases = cases
        self._models = models
        self._device = device
        self._max_bytes = max_bytes
        self._idle_seconds = idle_seconds
        self._sessions: dict[str, _Open] = {}
        self._lock = threading.Lock()

    def open(self, owner: str, case_id: str, model: str, options: Mapping[str, Option]) -> str:
        """A new session's id, which can't be guessed.

        Raises `UnknownCase`, `UnknownModel`, `BadInput` for an image the model can't take, and `NoRoom` if memory for
        sessions is used up by others; the owner's own oldest sessions make room.
        """
        interactive = self._models.interactive(model)
        volume = self._cases.volume(case_id)
        size = interactive.session_bytes(volume) + 3 * volume.geometry.voxel_count
        self._make_room(owner, size)
        session = interactive.open(volume, options)
        session_id = secrets.token_urlsafe(24)
        opened = _Open(
            owner, case_id, model, session, volume.geometry, SlicewiseGzip(session.mask), size, time.monotonic()
        )
        with self._lock:
            self._sessions[session_id] = opened
        return session_id

    def add(self, session_id: str, owner: str, prompts: Sequence[Prompt]) -> None:
        """Take prompts in their order, with one prediction each.

        Raises `BadPrompt` at the first that can't be used; those before it count.
        """

        def work(opened: _Open) -> None:
            for prompt in prompts:
                region = self._device.run(partial(opened.session.add, prompt), Priority.PROMPT, owner)
                opened.encoder.touch(region)

        self._with(session_id, owner, work)

    def undo(self, session_id: str, owner: str) -> None:
        self._with(
            session_id,
            owner,
            lambda opened: opened.encoder.touch(self._device.run(opened.session.undo, Priority.PROMPT, owner)),
        )

    def reset(self, session_id: str, owner: str) -> None:
        self._with(
            session_id,
            owner,
            lambda opened: opened.encoder.touch(self._device.run(opened.session.reset, Priority.PROMPT, owner)),
        )

    def mask(self, session_id: str, owner: str) -> NDArray[np.uint8]:
        """A copy of the mask, `(k, j, i)`."""
        return self._with(session_id, owner, lambda opened: opened.session.mask.copy())

    def gzip(self, session_id: str, owner: str, prefix: bytes = b"") -> bytes:
        """`prefix` and the whole mask as one gzip stream; only slices changed since the last call are compressed."""
        return self._with(session_id, owner, lambda opened: opened.encoder.gzip(prefix))

    def geometry(self, session_id: str, owner: str) -> Geometry:
        return self._with(session_id, owner, lambda opened: opened.geometry)

    def close(self, session_id: str, owner: str) -> None:
        """Give a session's memory back; nothing happens if it is closed already."""
        with self._lock:
            opened = self._sessions.get(session_id)
            if opened is None or opened.owner != owner:
                return
            del self._sessions[session_id]
        _end(opened)

    def sweep(self) -> None:
        """Close sessions nobody has used for a while."""
        self._close_where(lambda opened: time.monotonic() - opened.used > self._idle_seconds)

    def close_all(self) -> None:
        self._close_where(lambda opened: True)

    @property
    def memory(self) -> tuple[int, int]:
        """`(open sessions, bytes they take, about)`."""
        with self._lock:
            return len(self._sessions), sum(opened.bytes for opened in self._sessions.values())

    def _with(self, session_id: str, owner: str, work: Callable[[_Open], T]) -> T:
        with self._lock:
            opened = self._sessions.get(session_id)
        # Another owner's session is answered like none at all: ids are not to be tried out.
        if opened is None or opened.owner != owner:
            raise UnknownSession("this session is over; open the image again")
        with opened.lock:
            if opened.closed:
                raise UnknownSession("this session is over; open the image again")
            opened.used = time.monotonic()
            return work(opened)

    def _make_room(self, owner: str, size: int) -> None:
        if size > self._max_bytes:
            raise NoRoom(
                f"this image needs about {size >> 20} MiB to be segmented interactively, and the server allows"
                f" {self._max_bytes >> 20} MiB for all sessions (setting sessions.max_bytes)",
                retry_after=3600,
            )
        while True:
            with self._lock:
                used = sum(opened.bytes for opened in self._sessions.values())
                if used + size <= self._max_bytes:
                    return
                own = [(opened.used, key) for key, opened in self._sessions.items() if opened.owner == owner]
                oldest = self._sessions.pop(min(own)[1]) if own else None
            if oldest is None:
                raise NoRoom("all memory for sessions is in use by others; try again in a few minutes", retry_after=60)
            _end(oldest)

    def _close_where(self, condition: Callable[[_Open], bool]) -> None:
        with self._lock:
            ended = [key for key, opened in self._sessions.items() if condition(opened)]
            closing = [self._sessions.pop(key) for key in ended]
        for opened in closing:
            _end(opened)


def _end(opened: _Open) -> None:
    with opened.lock:
        opened.closed = True
        opened.session.close()
