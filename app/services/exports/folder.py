"""The folder that an export is written to: files are added atomically, and kept if an earlier run wrote them.

`.segloop-export.jsonl` in the folder is the journal: first the format, then a line for each file that was written, with
its digest and what it was made from. An export that was interrupted goes on behind the last of them; one into a
finished export replaces what has changed and removes what no longer belongs to it. Everything else is left alone.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from app.durable import file_sha256, write_durably
from app.errors import BadInput, Conflict
from app.services.exports.files import ExportFile

JOURNAL = ".segloop-export.jsonl"
_MODE = 0o644
_VERSION = 1
"""Changes with what is written for the same labels, so that files of an older segloop are written again."""


@dataclass(frozen=True)
class Written:
    """A file of an export. `source` is a digest of what it was made from."""

    path: str
    sha256: str
    size: int
    source: str


class ExportFolder:
    """Used by one thread. `written`, `kept` and `removed` count files."""

    def __init__(self, root: Path, journal: BinaryIO, known: dict[str, Written]) -> None:
        self._root, self._journal, self._known = root, journal, known
        self._current: dict[str, Written] = {}
        self._fresh: set[str] = set()
        self.removed = 0

    @property
    def written(self) -> int:
        return len(self._fresh)

    @property
    def kept(self) -> int:
        return len(self._current) - len(self._fresh)

    @classmethod
    @contextmanager
    def opened(cls, root: Path, format_name: str) -> Iterator[ExportFolder]:
        """Lock the folder, which is made if it doesn't exist.

        Raises `BadInput` for a folder with other files than those of an export in this format, and `Conflict` if
        another process exports into it.
        """
        root.mkdir(parents=True, exist_ok=True)
        if not (root / JOURNAL).exists() and any(root.iterdir()):
            raise BadInput(f"{root} isn't empty, and no export of segloop; give a new folder")
        with (root / JOURNAL).open("a+b") as journal:
            try:
                fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(f"another process exports into {root}") from error
            known = _read(journal, root, format_name)
            for left in root.rglob(".writing-*"):  # of a run that was killed
                left.unlink()
            yield cls(root, journal, known)

    def add(self, file: ExportFile, *source: object) -> Written:
        """Write a file, unless it is there already, made from the same. Raises what `file.write` raises, and
        `OSError`."""
        made_from = sha256(repr((_VERSION, file.path, *source)).encode()).hexdigest()
        known = self._known.get(file.path)
        if known is not None and known.source == made_from and self._intact(known):
            self._current[file.path] = known
            return known
        return self._write(file, made_from)

    def add_content(self, path: str, content: bytes) -> Written:
        """Write a small file, unless it is there already."""
        digest = sha256(content).hexdigest()
        return self.add(ExportFile(path, "label", lambda file: file.write(content)), digest)

    def drop(self, path: str) -> None:
        """Remove a file that was added."""
        del self._current[path]
        self._fresh.discard(path)
        (self._root / path).unlink(missing_ok=True)

    def finish(self) -> None:
        """Remove files of earlier runs that this one doesn't have, unless somebody changed them."""
        for path, known in self._known.items():
            if path not in self._current and self._intact(known):
                (self._root / path).unlink()
                self.removed += 1
                self._remove_empty((self._root / path).parent)

    def _write(self, file: ExportFile, made_from: str) -> Written:
        final = self._root / file.path
        digest = write_durably(final, file.write, mode=_MODE)
        written = Written(file.path, digest, final.stat().st_size, made_from)
        self._journal.write(json.dumps(asdict(written)).encode() + b"\n")
        self._journal.flush()
        self._current[file.path] = written
        self._fresh.add(file.path)
        return written

    def _remove_empty(self, folder: Path) -> None:
        while folder != self._root and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def _intact(self, known: Written) -> bool:
        file = self._root / known.path
        return file.is_file() and file.stat().st_size == known.size and file_sha256(file) == known.sha256


def _read(journal: BinaryIO, root: Path, format_name: str) -> dict[str, Written]:
    """The last line of each file. An incomplete line at the end is cut off. Raises `BadInput` for another format."""
    journal.seek(0)
    content = journal.read()
    whole = content.rfind(b"\n") + 1
    journal.truncate(whole)
    lines = content[:whole].splitlines()
    if not lines:
        journal.write(json.dumps({"format": format_name}).encode() + b"\n")
        journal.flush()
        return {}
    try:
        before = json.loads(lines[0])["format"]
        known = [Written(**json.loads(line)) for line in lines[1:]]
    except (ValueError, LookupError, TypeError) as error:
        raise BadInput(f"{root / JOURNAL} is damaged; give a new folder") from error
    if before != format_name:
        raise BadInput(f"{root} holds an export as {before}; give another folder for {format_name}")
    return {one.path: one for one in known}
