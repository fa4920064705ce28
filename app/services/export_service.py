"""Exports on behalf of clients: made one at a time in the background, and kept as an archive until the next one."""

from __future__ import annotations

import shutil
import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Literal

from app.durable import write_durably
from app.errors import AlreadyRunning, BadInput, Cancelled, Conflict, NotFound, SegloopError
from app.project.project import Project
from app.services.exports import FORMATS, ExportOptions, export_labels
from app.services.exports.folder import JOURNAL

_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of each member: the earliest that a zip can hold. The same files make the same archive."""


@dataclass(frozen=True)
class ExportState:
    """An export by a client. `progress` goes from 0 to 1. `left_out` says by case id why a case isn't in it; `message`
    why it failed."""

    id: str
    options: ExportOptions
    state: Literal["running", "done", "failed"]
    progress: float = 0.0
    cases: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    message: str = ""


class ExportService:
    """Thread-safe: one lock, for the state only. One export runs at a time, and the folder of the last one is kept in
    the cache, so the same export again only adds what is new; an export with other options replaces it."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._folder = project.paths.cache / "exports"
        self._lock = threading.Lock()
        self._state: ExportState | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def start(self, options: ExportOptions) -> ExportState:
        """Begin an export. Raises `BadInput` for an unknown format, and `AlreadyRunning`."""
        if options.format not in FORMATS:
            raise BadInput(f"there is no format {options.format!r}; there are: {', '.join(FORMATS)}")
        export_id = sha256(repr(options).encode()).hexdigest()[:16]
        with self._lock:
            if self._state is not None and self._state.state == "running":
                raise AlreadyRunning("an export is running; ask again when it has ended")
            self._state = ExportState(export_id, options, "running")
            self._thread = threading.Thread(target=self._run, args=(self._state,), name="export", daemon=True)
            self._thread.start()
            return self._state

    def get(self, export_id: str) -> ExportState:
        """Raises `NotFound`: no such export, or one that another has replaced."""
        with self._lock:
            if self._state is None or self._state.id != export_id:
                raise NotFound(f"there is no export {export_id!r} (any more); start it again")
            return self._state

    def archive(self, export_id: str) -> Path:
        """The zip file of an export that is done. Raises `NotFound`, and `Conflict` before."""
        state = self.get(export_id)
        if state.state != "done":
            raise Conflict(f"the export isn't there: {state.message or 'it is running'}")
        return self._folder / f"{export_id}.zip"

    def close(self) -> None:
        """Stop the export that runs, at its next case."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, state: ExportState) -> None:
        target = self._folder / state.id
        try:
            self._make_room(state.id)
            report = export_labels(self._project, target, state.options, self._progress)
            write_durably(self._folder / f"{state.id}.zip", lambda file: _pack(target, file))
            self._set(
                state="done",
                progress=1.0,
                cases=report.cases,
                left_out=dict(report.left_out),
                notes=tuple(report.notes),
            )
        except SegloopError as error:
            self._set(state="failed", message=str(error))
        except OSError as error:
            self._set(state="failed", message=f"the export can't be written: {error.strerror}")
        except BaseException:
            self._set(state="failed", message="the export failed; the server's log says why")
            raise

    def _progress(self, done: float, text: str = "") -> None:
        if self._closing.is_set():
            raise Cancelled("the server is stopping")
        self._set(progress=done)

    def _set(self, **changes: object) -> None:
        with self._lock:
            if self._state is not None:
                self._state = replace(self._state, **changes)  # type: ignore[arg-type]

    def _make_room(self, kept: str) -> None:
        """Remove the exports with other options."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for entry in self._folder.iterdir():
            if entry.name != kept:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _pack(folder: Path, file: BinaryIO) -> None:
    """Everything but the journal, uncompressed: images and labels are compressed already."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != JOURNAL):
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EARLIEST)
            member.external_attr = 0o644 << 16
            member.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(member, "w") as into:
                shutil.copyfileobj(source, into, 1 << 20)
