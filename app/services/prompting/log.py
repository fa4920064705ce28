"""The logs of prompt sessions on disk, from which a session is restored after it was parked or the server restarted.

One folder per session in the workspace, named by a digest of the session's id:

    session.json    what it was opened on, by whom, with which model
    log.jsonl       one line per step, appended before the step is answered (`app.core.prompt`)
    snapshot.bin    the session's state in memory after some of the steps (`app.services.prompting.snapshots`)
    states/         a file for each state to which an undo or a redo may return (`app.services.prompting.states`)
    closed          exists if the owner closed the session
    submitted       the id of the last label made from it

An incomplete last line, left by a killed process, is ignored: its step was never answered. Steps survive the end of the
process, but not a power cut: flushing each one would slow every click (labels are flushed).
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
from app.core.prompt import (
    Edit,
    InitialMask,
    Prompt,
    decoded_edit,
    decoded_prompt,
    encoded_edit,
    encoded_prompt,
)
from app.core.volume import Index
from app.durable import flush
from app.errors import IntegrityError, UnknownSession

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Viewer:
    """A session's user (`who`) and the program they use (`client`). `undoes_all`: it can undo every step, not only the
    last prompt, so the states before each are stored (`app.services.prompting.history`)."""

    client: str
    who: str
    undoes_all: bool = False


@dataclass(frozen=True)
class SessionRecord:
    """What a session was opened on. `shape` is `(k, j, i)`; times are seconds since the epoch.

    `placed` says whether the image came with its geometry; without it, the position in the patient is known only once
    the image is matched to a case. `structure` is what it is drawn for, "" if that is told only on submitting.
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
    structure: str = ""

    @property
    def name(self) -> str:
        """A short public name; unlike the id, it gives no access."""
        return session_name(self.id)


Said = Literal["", "absent", "guessed"]
"""What is said of a structure besides its voxels: that somebody looked for it and it isn't there, or that a model made
its voxels and nobody has looked at them."""


@dataclass(frozen=True)
class Step:
    """One entry of the log. `prompt` belongs to `add`, `options` to `options`.

    `adopt` is added by the server: the session's weights no longer exist, and it continues with those of `version` from
    its last mask, which is the `prompt`.

    `edit` belongs to `edit`, a change of the mask by hand. A `return` goes back, or forward again, to the state that
    the session had after the first `to` entries of the log (`app.services.prompting.timeline`).

    `say` records what is `said` of the session's structure (`SAID`). Steps of the same `batch` that follow each other
    are undone together. `shown`: the edit only cuts the last answer to what its viewer shows; the model isn't told.
    `at` is the time of the step in seconds since the epoch, 0 where nobody needs it.

    `patches` is the number of patches that were predicted in an `add` or `predict`, if the model's predictions consist
    of patches; a replay does as many where a prediction could have ended early.
    """

    kind: Literal["add", "predict", "undo", "reset", "options", "adopt", "edit", "return", "say"]
    prompt: Prompt | None = None
    predict: bool = True
    unchecked: bool = False
    full_refine: bool = False
    options: Mapping[str, Option] | None = None
    version: str = ""
    patches: int | None = None
    edit: Edit | None = None
    to: int = 0
    said: Said = ""
    shown: bool = False
    batch: str = ""
    at: float = 0.0

    @property
    def predicts(self) -> bool:
        """Whether the step contains a prediction."""
        if self.kind == "add":
            return self.prompt.refine if isinstance(self.prompt, InitialMask) else self.predict
        return self.kind == "predict"


@dataclass(frozen=True)
class Prefix:
    """The beginning of a session's log: the number of `steps`, and a digest of the session's record and these steps."""

    steps: int
    digest: str


def next_digest(digest: str, line: bytes) -> str:
    """A digest of everything that `digest` is of, and one more line."""
    return sha256(digest.encode() + line).hexdigest()


def session_name(session_id: str) -> str:
    """The public name of a session, which doesn't reveal its id."""
    return sha256(session_id.encode()).hexdigest()[:16]


class SessionLog:
    """The folders of all sessions. Callers hold a session's lock while they write to its log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, record: SessionRecord) -> None:
        """Write a new session's record."""
        place = self._place(record.id)
        place.mkdir(parents=True, exist_ok=True)
        temporary = place / "session.json.new"
        temporary.write_text(json.dumps(asdict(record)))
        temporary.rename(place / "session.json")

    def append(self, session_id: str, step: Step) -> bytes:
        """Append one step, without flushing it to the medium; returns its line."""
        line = json.dumps(_encoded(step), separators=(",", ":")).encode() + b"\n"
        with (self._place(session_id) / "log.jsonl").open("ab") as stream:
            stream.write(line)
        return line

    def digests(self, session_id: str) -> list[str]:
        """The `next_digest` of the record and after each step in turn."""
        place = self._place(session_id)
        found = [next_digest("", (place / "session.json").read_bytes())]
        if (place / "log.jsonl").exists():
            with (place / "log.jsonl").open("rb") as stream:
                for line in stream:
                    found.append(next_digest(found[-1], line))
        return found

    def find(self, session_id: str) -> SessionRecord | None:
        """The record of a session by its id; None if there is none."""
        record = _read_record(self._place(session_id) / "session.json")
        return record if record is not None and record.id == session_id else None

    def named(self, name: str) -> SessionRecord | None:
        """The session with this public name; None if there is none."""
        return next((record for record in self.all() if record.name == name), None)

    def all(self) -> list[SessionRecord]:
        """Every session with a record, last opened first."""
        found = [_read_record(file) for file in self._folder.glob("*/session.json")]
        return sorted((record for record in found if record is not None), key=lambda r: r.opened, reverse=True)

    def newest(self, owner: str) -> SessionRecord | None:
        """The session that an owner opened last and hasn't closed."""
        own = (record for record in self.all() if record.owner == owner)
        return next((record for record in own if not self.closed(record.id)), None)

    def mark_closed(self, session_id: str) -> None:
        """Record that the owner closed a session; the log stays so that it can be submitted."""
        (self._place(session_id) / "closed").touch()

    def closed(self, session_id: str) -> bool:
        """Whether the owner closed a session."""
        return (self._place(session_id) / "closed").exists()

    def steps(self, record: SessionRecord) -> list[Step]:
        """All steps. An incomplete last line is truncated, so that the next step starts on a new line.

        Raises `UnknownSession` if the record was deleted, and `IntegrityError` if the log is damaged.
        """
        if self.find(record.id) is None:
            raise UnknownSession("this session was so long ago that it was forgotten; open the image again")
        file = self._place(record.id) / "log.jsonl"
        if not file.exists():
            return []
        content = file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            logger.warning("the log of session %s ended in an incomplete line, which is dropped", record.name)
            os.truncate(file, whole)
        try:
            return [_decoded(json.loads(line), record.shape) for line in content[:whole].splitlines()]
        except (ValueError, KeyError, TypeError, zlib.error, binascii.Error) as error:
            raise IntegrityError(f"the record of session {record.name} is damaged; open the image again") from error

    def lines(self, session_id: str) -> list[bytes]:
        """The lines of the log as they are, also by a process that doesn't hold the session's lock: the last one may be
        incomplete."""
        file = self._place(session_id) / "log.jsonl"
        return file.read_bytes().splitlines() if file.exists() else []

    def count(self, session_id: str) -> int:
        """The number of steps, without decoding them."""
        file = self._place(session_id) / "log.jsonl"
        if not file.exists():
            return 0
        with file.open("rb") as stream:
            return sum(line.endswith(b"\n") for line in stream)

    def length(self, session_id: str) -> int:
        """The length of the log in bytes."""
        file = self._place(session_id) / "log.jsonl"
        return file.stat().st_size if file.exists() else 0

    def prefix(self, session_id: str, length: int) -> Prefix | None:
        """The first `length` bytes of the log; None if the log is shorter or they don't end with a complete step."""
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
        """Flush the log to the medium: a snapshot must not be ahead of the log after a power cut."""
        with (self._place(session_id) / "log.jsonl").open("rb") as stream:
            os.fsync(stream.fileno())

    def flush_all(self, session_id: str) -> None:
        """Flush everything that brings the session back: after this it survives a power cut."""
        place = self._place(session_id)
        for one in (place / "session.json", place / "log.jsonl", place, self._folder):
            if one.exists():
                flush(one)

    def snapshot(self, session_id: str) -> Path:
        """The path of the session's snapshot, whether it exists or not."""
        return self._place(session_id) / "snapshot.bin"

    def states(self, session_id: str) -> Path:
        """The folder of the session's stored states, whether it exists or not."""
        return self._place(session_id) / "states"

    def last_used(self, session_id: str) -> float:
        """The time of the last step, or of opening, in seconds since the epoch; 0 if the session doesn't exist."""
        place = self._place(session_id)
        times = [file.stat().st_mtime for file in (place / "log.jsonl", place / "session.json") if file.exists()]
        return max(times, default=0.0)

    def mark_submitted(self, session_id: str, label_id: int) -> None:
        """Record the label that was made from a session."""
        (self._place(session_id) / "submitted").write_text(f"{label_id}\n")

    def submitted(self, session_id: str) -> int | None:
        """The id of the last label made from the session; None if there is none, or steps were added since."""
        mark, log = self._place(session_id) / "submitted", self._place(session_id) / "log.jsonl"
        if not mark.exists() or (log.exists() and log.stat().st_mtime > mark.stat().st_mtime):
            return None
        return int(mark.read_text())

    def remove(self, session_id: str) -> None:
        """Delete everything stored of a session."""
        shutil.rmtree(self._place(session_id), ignore_errors=True)

    def remove_states(self, session_id: str) -> None:
        """Delete the session's stored states: nothing before can be undone any more."""
        shutil.rmtree(self.states(session_id), ignore_errors=True)

    def remove_older(self, seconds: float) -> None:
        """Delete the sessions that were last used more than `seconds` ago."""
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
    elif step.kind == "edit" and step.edit is not None:
        values |= encoded_edit(step.edit)
    elif step.kind == "return":
        values["to"] = step.to
    elif step.kind == "say":
        values["said"] = step.said
    if step.patches is not None:
        values["patches"] = step.patches
    optional = {"shown": step.shown, "batch": step.batch, "time": step.at}
    return values | {name: value for name, value in optional.items() if value}


def _decoded(values: dict[str, Any], shape: Index) -> Step:
    kind = values["step"]
    step = Step(
        kind,
        full_refine=values.get("full_refine", False),
        options=values.get("options"),
        patches=values.get("patches"),
        to=values.get("to", 0),
        said=values.get("said", ""),
        shown=values.get("shown", False),
        batch=values.get("batch", ""),
        at=values.get("time", 0.0),
    )
    if kind == "add":
        prompt = decoded_prompt(values, shape)
        return replace(step, prompt=prompt, predict=values["predict"], unchecked=values["unchecked"])
    if kind == "adopt":
        return replace(step, prompt=decoded_prompt(values, shape), version=values["version"])
    return replace(step, edit=decoded_edit(values)) if kind == "edit" else step
