"""The folder index: the content of a folder in SQLite, so that scanning it again is fast."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from app.archives.dicom_json import case_of_entry
from app.archives.folder.database import open_index
from app.archives.folder.examine import Found, examine
from app.archives.folder.options import IMAGE_MODALITIES, FolderOptions, volume_stem
from app.archives.folder.volumes import VolumeFacts, matches
from app.archives.folder.walk import Walk, walk
from app.core.archive import Listing, NotOffered
from app.core.case import Case
from app.dicom.volume_series import SYNTAX

BATCH = 200


@dataclass(frozen=True)
class Row:
    """One DICOM instance: path, UIDs, and its searchable header as DICOM JSON."""

    path: str
    study: str
    series: str
    sop: str
    syntax: str
    header: str


@dataclass(frozen=True)
class Shown:
    """A volume file that is shown as a DICOM series: its case, and `header`, the series' searchable header."""

    case: Case
    facts: VolumeFacts
    header: str


class FolderIndex:
    """One row per file and one per case. Files are examined again when their size or modification time changed.

    Thread-safe: one connection, used under `_lock`. A scan takes `_scan_lock` first and holds it while it reads files,
    without blocking queries.
    """

    def __init__(self, options: FolderOptions) -> None:
        self._options = options
        self._scan_lock = threading.Lock()
        self._lock = threading.Lock()
        self._connection = open_index(options.index)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def scan(self) -> None:
        """Bring the index up to date. Raises `ArchiveUnavailable` if the folder isn't there."""
        with self._scan_lock:
            known = self._known()  # before the walk: what is added meanwhile (`add`) must not count as gone
            seen = walk(self._options.folder, self._options.ignore)
            changed = sorted(path for path, size_and_time in seen.files.items() if known.get(path) != size_and_time)
            gone = [path for path in known if path not in seen.files and not _is_below(path, seen.unreadable)]
            self._remove(gone)
            for start in range(0, len(changed), BATCH):
                self._examine(changed[start : start + BATCH], seen)
            self._apply_rules()
            self._refresh_cases()

    def add(self, file: Path) -> None:
        """Index a file of the folder that was just written; cases change at the next scan."""
        path, status = str(file.relative_to(self._options.folder)), file.stat()
        self._examine([path], Walk({path: (status.st_size, status.st_mtime_ns)}))

    def listing(self, cursor: str | None) -> Listing:
        """The cases that changed since `cursor`, as of the last scan."""
        with self._lock:
            name, generation = self._connection.execute("SELECT name, generation FROM identity").fetchone()
            since = _since(cursor, name)
            rows = self._connection.execute(
                "SELECT id, record, gone FROM cases WHERE generation > ? ORDER BY id", (since,)
            ).fetchall()
        cases = tuple(_case(record) for _, record, gone in rows if not gone)
        if since < 0:
            return Listing(cases, (), f"{name}:{generation}", complete=True)
        return Listing(cases, tuple(case_id for case_id, _, gone in rows if gone), f"{name}:{generation}")

    def case(self, case_id: str) -> Case | None:
        """The case as of the last scan; None if there is none."""
        with self._lock:
            found = self._connection.execute(
                "SELECT record FROM cases WHERE id = ? AND NOT gone", (case_id,)
            ).fetchone()
        return _case(found[0]) if found else None

    def broken(self) -> list[tuple[str, str]]:
        """Files that can't be used, each with the reason, by path."""
        with self._lock:
            return self._connection.execute(
                "SELECT path, reason FROM files WHERE kind = 'broken' ORDER BY path"
            ).fetchall()

    def knows(self, path: str) -> bool:
        """Whether a file was there at the last scan."""
        with self._lock:
            return self._connection.execute("SELECT 1 FROM files WHERE path = ?", (path,)).fetchone() is not None

    def counts(self) -> dict[str, int]:
        """The number of files of each kind."""
        with self._lock:
            return dict(self._connection.execute("SELECT kind, COUNT(*) FROM files GROUP BY kind").fetchall())

    def instances(self, study: str = "", series: str = "", sop: str = "") -> list[Row]:
        """The instances with these UIDs (empty: any), ordered by UID. Copies of an instance are one row."""
        wanted = {name: value for name, value in (("study", study), ("series", series), ("sop", sop)) if value}
        condition = "".join(f" AND {name} = ?" for name in wanted)
        query = (
            "SELECT MIN(path), study, series, sop, syntax, header FROM files WHERE kind = 'instance'"  # noqa: S608
            f"{condition} GROUP BY study, series, sop ORDER BY study, series, sop"
        )
        with self._lock:
            return [Row(*values) for values in self._connection.execute(query, tuple(wanted.values()))]

    def series(self, study: str = "", series: str = "") -> list[tuple[Row, int]]:
        """One instance of each series with these UIDs (empty: any), and how many instances the series has.

        A volume file that is shown as a series is one."""
        wanted = {name: value for name, value in (("study", study), ("series", series)) if value}
        condition = "".join(f" AND {name} = ?" for name in wanted)
        query = (
            "SELECT MIN(path), study, series, sop, syntax, header,"  # noqa: S608
            " CASE kind WHEN 'volume' THEN slices ELSE COUNT(DISTINCT sop) END FROM files"
            f" WHERE kind IN ('instance', 'volume') AND series > ''{condition}"
            " GROUP BY study, series ORDER BY study, series"
        )
        with self._lock:
            return [(Row(*values[:-1]), values[-1]) for values in self._connection.execute(query, (*wanted.values(),))]

    def volumes(self, study: str = "", series: str = "") -> list[Shown]:
        """The volume files that are shown as series with these UIDs (empty: any), ordered by UID."""
        wanted = {name: value for name, value in (("study", study), ("series", series)) if value}
        condition = "".join(f" AND files.{name} = ?" for name in wanted)
        query = (
            "SELECT record, facts, header FROM files JOIN cases ON source = path"  # noqa: S608
            f" WHERE kind = 'volume' AND NOT gone AND series > ''{condition} ORDER BY study, series"
        )
        with self._lock:
            rows = self._connection.execute(query, tuple(wanted.values())).fetchall()
        return [Shown(_case(record), VolumeFacts.decoded(facts), header) for record, facts, header in rows]

    def not_offered(self) -> list[NotOffered]:
        """Volume files that are no cases, or that viewers of DICOM aren't shown, by path."""
        query = (
            "SELECT path, reason, CASE WHEN id IS NULL THEN 'mask' ELSE 'unshown' END FROM files"
            " LEFT JOIN cases ON source = path AND NOT gone WHERE kind = 'volume' AND reason > '' ORDER BY path"
        )
        with self._lock:
            return [NotOffered(*row) for row in self._connection.execute(query)]

    def _known(self) -> dict[str, tuple[int, int]]:
        with self._lock:
            rows = self._connection.execute("SELECT path, size, mtime_ns FROM files")
            return {path: (size, mtime_ns) for path, size, mtime_ns in rows}

    def _remove(self, paths: Sequence[str]) -> None:
        if paths:
            with self._lock, self._connection:
                self._touch(paths)
                self._connection.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in paths])

    def _examine(self, paths: Sequence[str], seen: Walk) -> None:
        found = {path: examine(self._options.folder / path, self._options.max_bytes) for path in paths}
        rows = [(path, *seen.files[path], *_columns(file)) for path, file in found.items()]
        with self._lock, self._connection:
            self._touch(paths)
            self._connection.executemany(
                f"INSERT OR REPLACE INTO files VALUES ({', '.join('?' * len(rows[0]))}, 0)",  # noqa: S608
                rows,
            )
            self._touch(paths)

    def _touch(self, paths: Iterable[str]) -> None:
        """Mark the cases of these files, as currently recorded, as stale."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO touched SELECT CASE kind WHEN 'instance' THEN series ELSE path END FROM files"
            " WHERE path = ? AND kind IN ('instance', 'volume')",
            [(path,) for path in paths],
        )

    def _apply_rules(self) -> None:
        """Mark the cases of all volume files as stale if the options for them have changed."""
        rules = json.dumps([self._options.masks, self._options.volume_modality])
        with self._lock, self._connection:
            if self._connection.execute("SELECT rules FROM identity").fetchone() != (rules,):
                self._connection.execute("INSERT OR IGNORE INTO touched SELECT path FROM files WHERE kind = 'volume'")
                self._connection.execute("UPDATE identity SET rules = ?", (rules,))

    def _refresh_cases(self) -> None:
        with self._lock, self._connection:
            touched = [source for (source,) in self._connection.execute("SELECT source FROM touched ORDER BY source")]
            if not touched:
                return
            self._connection.execute("UPDATE identity SET generation = generation + 1")
            current = {source: self._described(source) for source in touched}
            # Removed cases first, so that a volume file that was moved can keep its id.
            for source in [source for source, case in current.items() if case is None]:
                self._connection.execute(
                    "UPDATE cases SET gone = 1, generation = (SELECT generation FROM identity)"
                    " WHERE source = ? AND NOT gone",
                    (source,),
                )
                # A volume file that is a mask by now is no series any more.
                pattern = "" if self._is_label(source) else matches(source, self._options.masks)
                self._connection.execute(
                    "UPDATE files SET study = '', series = '', header = '', reason = ?"
                    " WHERE kind = 'volume' AND path = ?",
                    (f"a mask, because its name matches {pattern}" if pattern else "", source),
                )
            for source, case in sorted(current.items(), key=lambda item: (item[0].count("/"), item[0])):
                if case is not None:
                    self._put(source, case)
            self._connection.execute("DELETE FROM touched")

    def _described(self, source: str) -> Case | None:
        """The case of a series or of a volume file (whose id may still change); None if it no longer exists."""
        rows = self._connection.execute(
            "SELECT size, mtime_ns, modality, header, sop FROM files WHERE kind = 'instance' AND series = ?"
            " ORDER BY sop, path",
            (source,),
        ).fetchall()
        if rows and rows[0][2] in IMAGE_MODALITIES:
            case = case_of_entry(json.loads(rows[0][3]))
            if case is None:
                return None
            stamp = _stamp([(size, mtime_ns) for size, mtime_ns, *_ in rows])
            return Case(**{**asdict(case), "stamp": stamp, "instances": len({row[4] for row in rows})})
        file = self._connection.execute(
            "SELECT size, mtime_ns FROM files WHERE kind = 'volume' AND path = ?", (source,)
        ).fetchone()
        name = volume_stem(source.rpartition("/")[2])
        if file is None or name is None or self._is_label(source) or matches(source, self._options.masks):
            return None
        return Case(id=name, kind="file", stamp=_stamp([file]), location=source)

    def _is_label(self, path: str) -> bool:
        """Whether a volume file is a label that we wrote."""
        return (self._options.folder / path).is_relative_to(self._options.labels)

    def _put(self, source: str, case: Case) -> None:
        if case.kind == "file":
            case = self._shown(source, Case(**{**asdict(case), "id": self._free_id(source, case.id)}))
        self._connection.execute("DELETE FROM cases WHERE id = ? AND gone", (case.id,))
        self._connection.execute(
            "INSERT INTO cases VALUES (?, ?, ?, (SELECT generation FROM identity), 0) ON CONFLICT (source) DO UPDATE"
            " SET record = excluded.record, generation = excluded.generation, gone = 0",
            (case.id, source, json.dumps(asdict(case))),
        )

    def _shown(self, path: str, case: Case) -> Case:
        """The case of a volume file with what it is as a DICOM series, for which searches find it from now on."""
        (text,) = self._connection.execute("SELECT facts FROM files WHERE path = ?", (path,)).fetchone()
        facts = VolumeFacts.decoded(text)
        case = facts.described(case, self._options.volume_modality)
        header = facts.searchable(case) if case.series_uid else ""
        reason = f"not shown in OHIF: {facts.refusal}" if facts.refusal else ""
        self._connection.execute(
            "UPDATE files SET study = ?, series = ?, modality = ?, syntax = ?, header = ?, slices = ?, reason = ?"
            " WHERE path = ?",
            (case.study_uid, case.series_uid, case.modality, SYNTAX, header, case.instances, reason, path),
        )
        return case

    def _free_id(self, path: str, name: str) -> str:
        """The id of a volume file: the previous one, else the first of its name, path, and path with the extension that
        is free."""
        before = self._connection.execute("SELECT id FROM cases WHERE source = ?", (path,)).fetchone()
        if before:
            return str(before[0])
        flat = path.replace("/", "__")
        digest = hashlib.sha256(path.encode()).hexdigest()[:8]
        for candidate in (name, volume_stem(flat) or flat, flat, f"{name}__{digest}"):
            taken = self._connection.execute("SELECT 1 FROM cases WHERE id = ? AND NOT gone", (candidate,)).fetchone()
            if not taken:
                return candidate
        return f"{flat}__{digest}"


def _columns(found: Found) -> tuple[str, ...]:
    return (
        found.kind,
        found.reason,
        found.study,
        found.series,
        found.sop,
        found.sop_class,
        found.syntax,
        found.modality,
        found.header,
        found.facts,
    )


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def _case(record: str) -> Case:
    values = json.loads(record)
    return Case(**{**values, "warnings": tuple(values["warnings"])})


def _since(cursor: str | None, name: str) -> int:
    """The generation in a cursor of this index; -1 for any other."""
    index, _, generation = (cursor or "").partition(":")
    return int(generation) if index == name and generation.isdigit() else -1


def _stamp(files: Sequence[tuple[int, int]]) -> str:
    digest = hashlib.sha256("\n".join(f"{size} {mtime_ns}" for size, mtime_ns in files).encode()).hexdigest()
    return f"{len(files)}-{digest[:16]}"
