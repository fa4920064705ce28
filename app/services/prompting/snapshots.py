"""Snapshots: a session's state in memory after some of its steps, so that these needn't be replayed.

One file per session, `snapshot.bin`, replaced atomically, in the format of `app.services.prompting.framing`. Its values
are the log prefix that it belongs to (length, steps, digest), the version of the weights, and the state's form and
values; its parts are the mask and the parts of the state, in the format of `app.models.packed_arrays`.

A snapshot that is truncated, damaged, or doesn't match the session's log is ignored: the log is the reference. A
snapshot is taken under the session's lock, in a few hundredths of a second, and written by a thread. Lock: `_lock`
guards the table of pending writes and is held briefly.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveSession, SessionState
from app.durable import write_durably
from app.errors import BadFile
from app.models.packed_arrays import packed, unpacked
from app.services.prompting.framing import framed, unframed
from app.services.prompting.log import SessionLog, SessionRecord

logger = logging.getLogger(__name__)

MAGIC = b"segloop snapshot 1\n"

MAX_BYTES = 128 * 2**20
"""A larger snapshot is not written; a session on 512 x 512 x 300 voxels takes about 1 MiB."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A session after its first `steps` steps, with the weights of `version`. `mask` is `(k, j, i)`; `edited` says that
    it was changed by hand since the model's last prompt."""

    steps: int
    version: str
    state: SessionState
    mask: NDArray[np.uint8]
    edited: bool = False


@dataclass(frozen=True, eq=False)
class _Pending:
    """A snapshot that isn't written yet. `length` is the length of the log in bytes."""

    record: SessionRecord
    length: int
    version: str
    state: SessionState
    mask: bytes
    edited: bool


class Snapshots:
    """The snapshots of all sessions. Thread-safe, apart from `keep`."""

    def __init__(self, log: SessionLog) -> None:
        self._log = log
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        self._writing: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def keep(self, record: SessionRecord, session: InteractiveSession, edited: bool = False) -> None:
        """Take a snapshot of a session whose memory matches its log, and queue it for writing. Call with its lock held.
        Failures are only logged: the session can be restored from its log."""
        try:
            state = session.capture()
            if state is None:
                return
            length = self._log.length(record.id)
            pending = _Pending(record, length, session.version, state, packed(session.mask), edited)
            with self._lock:
                writing = self._writer.submit(self._write, pending)
                self._writing[record.id] = writing
        except Exception:
            logger.exception("no snapshot could be taken of session %s", record.name)
            return
        writing.add_done_callback(lambda done: self._written(record.id, done))

    def newest(self, record: SessionRecord) -> Snapshot | None:
        """The session's snapshot; None if there is none, or it is damaged or doesn't match the log."""
        self.wait_written(record.id)
        try:
            content = _read(self._log.snapshot(record.id))
            return _decoded(content, record, self._log) if content is not None else None
        except BadFile as error:
            logger.warning("the snapshot of session %s is not used: %s", record.name, error)
            return None

    def wait_written(self, session_id: str) -> None:
        """Wait for a pending write of a session's snapshot."""
        with self._lock:
            writing = self._writing.get(session_id)
        if writing is not None:
            wait([writing])

    def drain(self) -> None:
        """Wait for pending writes and stop the writer."""
        self._writer.shutdown()

    def _written(self, session_id: str, done: Future[None]) -> None:
        with self._lock:
            if self._writing.get(session_id) is done:
                del self._writing[session_id]

    def _write(self, pending: _Pending) -> None:
        name = pending.record.name
        try:
            content = _encoded(pending, self._log)
            if len(content) > MAX_BYTES:
                logger.warning("the snapshot of session %s has %d bytes and isn't written", name, len(content))
                return
            self._log.flush(pending.record.id)
            write_durably(self._log.snapshot(pending.record.id), lambda file: file.write(content), parents=False)
        except FileNotFoundError:
            pass  # the session was deleted meanwhile
        except Exception:
            logger.exception("the snapshot of session %s could not be written", name)


def _encoded(pending: _Pending, log: SessionLog) -> bytes:
    prefix = log.prefix(pending.record.id, pending.length)
    if prefix is None:
        raise FileNotFoundError(f"the log of session {pending.record.name} is gone")
    values = {
        "length": pending.length,
        "steps": prefix.steps,
        "log": prefix.digest,
        "version": pending.version,
        "edited": pending.edited,
        "form": pending.state.form,
        "values": pending.state.values,
    }
    return framed(MAGIC, values, {"mask": pending.mask, **pending.state.parts})


def _read(file: Path) -> bytes | None:
    """A snapshot's bytes; None if there is no file. Raises `BadFile` if it is larger than any snapshot."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(content) > MAX_BYTES:
        raise BadFile("it is larger than any snapshot")
    return content


def _decoded(content: bytes, record: SessionRecord, log: SessionLog) -> Snapshot:
    """Decode a snapshot. Raises `BadFile` if it is damaged or doesn't match the session's log."""
    values, parts = unframed(MAGIC, content)
    try:
        prefix = log.prefix(record.id, int(values["length"]))
        if prefix is None or (prefix.digest, prefix.steps) != (values["log"], values["steps"]):
            raise BadFile("it belongs to another log")
        mask = unpacked(parts.pop("mask"), record.shape, np.uint8)
        state = SessionState(values["form"], values["values"], parts)
        return Snapshot(prefix.steps, values["version"], state, mask, bool(values.get("edited")))
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(f"it can't be read: {error!r}") from error
