"""What was done in a prompt session, kept on disk, so that a session outlives idleness and the server's restart.

One folder per session in the workspace, named by a digest of the session's id:

    session.json    what it was opened on, by whom, with which model
    log.jsonl       one line per step, appended before the step is answered (`app.core.prompt`)
    snapshot.bin    what the session had in memory after some of the steps (`app.services.prompting.snapshots`)

A line that a kill cut off is ignored: nobody was told that its step was done. Steps survive the end of the process;
they are not flushed to the medium one by one, which would cost each click more than it is worth (labels are).
"""

from __future__ import annotations

import binascii
import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from app.core.model import Option
from app.core.prompt import Prompt, decoded_prompt, encoded_prompt
from app.core.volume import Index
from app.errors import IntegrityError, UnknownSession

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Viewer:
    """Who is at a session, and through which viewer."""

    client: str
    who: str


@dataclass(frozen=True)
class SessionRecord:
    """What a session was opened on. `shape` is `(k, j, i)`; times are seconds since the epoch.

    `placed` says whether the image's geometry came with it; without, the voxels have a place in the patient only once
    the image is matched to a case.
    """

    id: str
    owner: str
    case_id: str
    model: str
    model_version: str
    options: Mapping[str, Option]
    viewer: Viewer
    shape: Index
    placed: bool
    opened: float

    @property
    def name(self) -> str:
        """What people call the session: short, and of no use to get into it."""
        return session_name(self.id)


@dataclass(frozen=True)
class Step:
    """One thing that was done. `prompt` belongs to `add`, `options` to `options`.

    `adopt` is done by the server: the weights of the session are gone, and it goes on with those of `version`, from the
    mask it had, which is the `prompt`.
    """

    kind: Literal["add", "predict", "undo", "reset", "options", "adopt"]
    prompt: Prompt | None = None
    predict: bool = True
    unchecked: bool = False
    full_refine: bool = False
    options: Mapping[str, Option] | None = None
    version: str = ""


@dataclass(frozen=True)
class Prefix:
    """The beginning of a session's log: how many `steps`, and a digest of what it was opened on and of these steps."""

    steps: int
    digest: str


def session_name(session_id: str) -> str:
    return sha256(session_id.encode()).hexdigest()[:16]


class SessionLog:
    """All sessions' folders. Calls for one session are made by whoever holds its lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, record: SessionRecord) -> None:
        place = self._place(record.id)
        place.mkdir(parents=True, exist_ok=True)
        temporary = place / "session.json.new"
        temporary.write_text(json.dumps(asdict(record)))
        temporary.rename(place / "session.json")

    def append(self, session_id: str, step: Step) -> None:
        line = json.dumps(_encoded(step), separators=(",", ":")) + "\n"
        with (self._place(session_id) / "log.jsonl").open("a") as stream:
            stream.write(line)

    def find(self, session_id: str) -> SessionRecord | None:
        record = _read_record(self._place(session_id) / "session.json")
        return record if record is not None and record.id == session_id else None

    def named(self, name: str) -> SessionRecord | None:
        """The session people call `name`."""
        return next((record for record in self.all() if record.name == name), None)

    def all(self) -> list[SessionRecord]:
        """Every session there is a record of, opened last first."""
        found = [_read_record(file) for file in self._folder.glob("*/session.json")]
        return sorted((record for record in found if record is not None), key=lambda r: r.opened, reverse=True)

    def newest(self, owner: str) -> SessionRecord | None:
        """The session an owner opened last, of those nobody closed."""
        own = (record for record in self.all() if record.owner == owner)
        return next((record for record in own if not (self._place(record.id) / "closed").exists()), None)

    def mark_closed(self, session_id: str) -> None:
        """Note that its owner is done with a session, which stays for whoever submits it."""
        (self._place(session_id) / "closed").touch()

    def steps(self, record: SessionRecord) -> list[Step]:
        """What was done. A line that was cut off is taken away, so that the next one begins on its own.

        Raises `UnknownSession` if there is no record any more, `IntegrityError` if it is damaged.
        """
        if self.find(record.id) is None:
            raise UnknownSession("this session was so long ago that it was forgotten; open the image again")
        file = self._place(record.id) / "log.jsonl"
        if not file.exists():
            return []
        content = file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            logger.warning("a session's record ended in a line that was cut off")
            os.truncate(file, whole)
        try:
            return [_decoded(json.loads(line), record.shape) for line in content[:whole].splitlines()]
        except (ValueError, KeyError, TypeError, zlib.error, binascii.Error) as error:
            raise IntegrityError(f"the record of session {record.name} is damaged; open the image again") from error

    def count(self, session_id: str) -> int:
        """How many steps were taken, without reading them."""
        file = self._place(session_id) / "log.jsonl"
        if not file.exists():
            return 0
        with file.open("rb") as stream:
            return sum(line.endswith(b"\n") for line in stream)

    def length(self, session_id: str) -> int:
        """The length of the log so far, in bytes."""
        file = self._place(session_id) / "log.jsonl"
        return file.stat().st_size if file.exists() else 0

    def prefix(self, session_id: str, length: int) -> Prefix | None:
        """The first `length` bytes of the log; None if there are fewer, or they don't end where a step ends."""
        place = self._place(session_id)
        try:
            opened_on = (place / "session.json").read_bytes()
            with (place / "log.jsonl").open("rb") as stream:
                steps = stream.read(length)
        except FileNotFoundError:
            return None
        if len(steps) < length or not steps.endswith(b"\n"):
            return None
        return Prefix(steps.count(b"\n"), sha256(sha256(opened_on).digest() + steps).hexdigest())

    def flush(self, session_id: str) -> None:
        """Bring the log to the medium: what is kept beside it must not know of steps that a power cut took away."""
        with (self._place(session_id) / "log.jsonl").open("rb") as stream:
            os.fsync(stream.fileno())

    def snapshot(self, session_id: str) -> Path:
        """Where the session's snapshot is, if there is one."""
        return self._place(session_id) / "snapshot.bin"

    def last_used(self, session_id: str) -> float:
        """When the last step was taken, or the session opened."""
        place = self._place(session_id)
        times = [file.stat().st_mtime for file in (place / "log.jsonl", place / "session.json") if file.exists()]
        return max(times, default=0.0)

    def mark_submitted(self, session_id: str, label_id: int) -> None:
        (self._place(session_id) / "submitted").write_text(f"{label_id}\n")

    def submitted(self, session_id: str) -> int | None:
        """The id of the label that was made from the session last; None if none was, or it was worked on since."""
        mark, log = self._place(session_id) / "submitted", self._place(session_id) / "log.jsonl"
        if not mark.exists() or (log.exists() and log.stat().st_mtime > mark.stat().st_mtime):
            return None
        return int(mark.read_text())

    def remove(self, session_id: str) -> None:
        shutil.rmtree(self._place(session_id), ignore_errors=True)

    def remove_older(self, seconds: float) -> None:
        """Forget sessions nobody has touched for so long."""
        for record in self.all():
            if time.time() - self.last_used(record.id) > seconds:
                self.remove(record.id)

    def _place(self, session_id: str) -> Path:
        return self._folder / session_name(session_id)


def _read_record(file: Path) -> SessionRecord | None:
    try:
        values = json.loads(file.read_text())
        record = SessionRecord(**values)
    except (OSError, ValueError, TypeError):
        return None
    k, j, i = record.shape
    return replace(record, viewer=Viewer(**values["viewer"]), shape=(k, j, i))


def _encoded(step: Step) -> dict[str, Any]:
    values: dict[str, Any] = {"step": step.kind}
    if step.kind == "add" and step.prompt is not None:
        values |= {"predict": step.predict, "unchecked": step.unchecked, **encoded_prompt(step.prompt)}
    elif step.kind == "adopt" and step.prompt is not None:
        values |= {"version": step.version, **encoded_prompt(step.prompt)}
    elif step.kind == "predict":
        values["full_refine"] = step.full_refine
    elif step.kind == "options":
        values["options"] = dict(step.options or {})
    return values


def _decoded(values: dict[str, Any], shape: Index) -> Step:
    kind = values["step"]
    if kind == "add":
        return Step("add", decoded_prompt(values, shape), values["predict"], values["unchecked"])
    if kind == "adopt":
        return Step("adopt", decoded_prompt(values, shape), version=values["version"])
    return Step(kind, full_refine=values.get("full_refine", False), options=values.get("options"))
