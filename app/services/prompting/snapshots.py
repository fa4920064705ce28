"""Snapshots: what a session had in memory after some of its steps, kept beside its log so that they need no predicting.

One file per session, `snapshot.bin`, replaced as a whole:

    MAGIC
    8 bytes      length of the header, little endian
    JSON         what it belongs to (length, steps and digest of the log's beginning; the weights' version), the state's
                 form and values, and the name and length of each part
    parts        one after the other: the mask, and the state's, as `app.models.packed_arrays` has them
    32 bytes     SHA-256 of all that

One that is cut off, damaged, of another session or of a log that went another way is as good as none: the log is what
counts. A snapshot is made from memory in a few hundredths of a second by whoever holds the session's lock, and written
by a thread. Lock: `_lock` guards the table of what is being written and is held for moments.
"""

from __future__ import annotations

import json
import logging
import struct
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveSession, SessionState
from app.durable import write_durably
from app.errors import BadFile
from app.models.packed_arrays import packed, unpacked
from app.services.prompting.log import SessionLog, SessionRecord

logger = logging.getLogger(__name__)

MAGIC = b"segloop snapshot 1\n"

MOST_BYTES = 128 * 2**20
"""A larger snapshot is not kept; a session on 512 x 512 x 300 voxels takes about 1 MiB."""

_DIGEST = 32


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A session after its first `steps` steps, which were done with the weights `version`. `mask` is `(k, j, i)`."""

    steps: int
    version: str
    state: SessionState
    mask: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Taken:
    """A snapshot that isn't written yet. `length` is how many bytes the log had."""

    record: SessionRecord
    length: int
    version: str
    state: SessionState
    mask: bytes


class Snapshots:
    """All sessions' snapshots. Thread-safe, apart from `keep`."""

    def __init__(self, log: SessionLog) -> None:
        self._log = log
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        self._writing: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def keep(self, record: SessionRecord, session: InteractiveSession) -> None:
        """Take a snapshot of a session that has done exactly what its log says, and have it written. Call with its lock
        held. One that can't be taken or written is no harm: the log can be replayed."""
        try:
            state = session.capture()
            if state is None:
                return
            length = self._log.length(record.id)
            taken = _Taken(record, length, session.version, state, packed(session.mask))
            with self._lock:
                writing = self._writer.submit(self._write, taken)
                self._writing[record.id] = writing
        except Exception:
            logger.exception("no snapshot could be taken of session %s", record.name)
            return
        writing.add_done_callback(lambda done: self._written(record.id, done))

    def newest(self, record: SessionRecord) -> Snapshot | None:
        """The session's snapshot if it is whole and belongs to the log as it is now."""
        self.ready(record.id)
        try:
            content = _read(self._log.snapshot(record.id))
            return _decoded(content, record, self._log) if content is not None else None
        except BadFile as error:
            logger.warning("the snapshot of session %s is not used: %s", record.name, error)
            return None

    def ready(self, session_id: str) -> None:
        """Wait for what is being written of a session."""
        with self._lock:
            writing = self._writing.get(session_id)
        if writing is not None:
            wait([writing])

    def drain(self) -> None:
        """Wait for everything that is being written, and end."""
        self._writer.shutdown()

    def _written(self, session_id: str, done: Future[None]) -> None:
        with self._lock:
            if self._writing.get(session_id) is done:
                del self._writing[session_id]

    def _write(self, taken: _Taken) -> None:
        name = taken.record.name
        try:
            content = _encoded(taken, self._log)
            if len(content) > MOST_BYTES:
                logger.warning("the snapshot of session %s would take %d bytes and isn't kept", name, len(content))
                return
            self._log.flush(taken.record.id)
            write_durably(self._log.snapshot(taken.record.id), lambda file: file.write(content), parents=False)
        except FileNotFoundError:
            pass  # the session was forgotten meanwhile
        except Exception:
            logger.exception("the snapshot of session %s could not be written", name)


def _encoded(taken: _Taken, log: SessionLog) -> bytes:
    prefix = log.prefix(taken.record.id, taken.length)
    if prefix is None:
        raise FileNotFoundError(f"the log of session {taken.record.name} is gone")
    parts = [("mask", taken.mask), *taken.state.parts.items()]
    header = {
        "length": taken.length,
        "steps": prefix.steps,
        "log": prefix.digest,
        "version": taken.version,
        "form": taken.state.form,
        "values": taken.state.values,
        "parts": [[name, len(part)] for name, part in parts],
    }
    head = json.dumps(header, separators=(",", ":")).encode()
    content = b"".join([MAGIC, struct.pack("<Q", len(head)), head, *(part for _, part in parts)])
    return content + sha256(content).digest()


def _read(file: Path) -> bytes | None:
    """A snapshot's bytes without their checksum, which is right; None if there is no file. Raises `BadFile`."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    whole = content[:-_DIGEST]
    if not content.startswith(MAGIC) or len(content) > MOST_BYTES or sha256(whole).digest() != content[-_DIGEST:]:
        raise BadFile("it is cut off or damaged, or no snapshot at all")
    return whole


def _decoded(content: bytes, record: SessionRecord, log: SessionLog) -> Snapshot:
    """Raises `BadFile` for a snapshot that doesn't belong to the session's log."""
    try:
        start = len(MAGIC) + 8
        (length,) = struct.unpack_from("<Q", content, len(MAGIC))
        header: dict[str, Any] = json.loads(content[start : start + length])
        prefix = log.prefix(record.id, int(header["length"]))
        if prefix is None or (prefix.digest, prefix.steps) != (header["log"], header["steps"]):
            raise BadFile("it belongs to another log")
        parts: dict[str, bytes] = {}
        at = start + length
        for name, size in header["parts"]:
            parts[name] = content[at : at + size]
            at += size
        mask = unpacked(parts.pop("mask"), record.shape, np.uint8)
        state = SessionState(header["form"], header["values"], parts)
        return Snapshot(prefix.steps, header["version"], state, mask)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise BadFile(f"it can't be read: {error!r}") from error
