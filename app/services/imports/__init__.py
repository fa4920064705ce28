"""Labels of other programs into segloop: `segloop labels import` (docs/data.md).

Each mask is matched to a case, read on the case's voxels, and committed as a label version like any other submission.
Nothing is guessed: what can't be matched, named or placed exactly is refused, and the report says why.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from app.core.case import CaseRow
from app.core.label import ORIGINAL, Submission, states_of
from app.core.mask import Mask
from app.core.progress import Progress, ignore_progress
from app.dicom.parsing import parse
from app.dicom.rtstruct_read import read_rtstruct
from app.dicom.seg_read import describe_all, read_seg
from app.dicom.seg_record import record_of
from app.durable import file_sha256
from app.errors import BadInput, SegloopError, Unavailable
from app.formats.label_files import read_label
from app.services.imports.sources import MaskFile, mask_files
from app.services.labels import LabelService
from app.services.structure_names import placeholder
from app.workspace import safe_name

__all__ = ["ImportOptions", "Imported", "import_labels"]

CLIENT = "segloop labels import"
IGNORE = "ignore"
"""What label maps call voxels of which nothing is known."""
_SUFFIX = re.compile(r"[._ -](?:seg|segmentation|labels?|labelmap|mask)$", re.IGNORECASE)


@dataclass(frozen=True)
class ImportOptions:
    """`names` maps what a file says (a voxel value as text, or a name) to the project's structures. `cases` maps files,
    by path below the source or by name, to case ids. `pattern` is a regular expression on a file's name, whose group
    `case` is the id of its case. `author` "": as the files say."""

    tag: str = ORIGINAL
    author: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    cases: Mapping[str, str] = field(default_factory=dict)
    pattern: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class Imported:
    """What became of a file. `known`: the case has this label already. `detail` says which structures, or why not."""

    name: str
    case_id: str
    result: Literal["imported", "known", "refused"]
    detail: str


def cases_of(table: Path) -> dict[str, str]:
    """Files and their cases in a CSV with the columns `file` and `case`. Raises `BadInput`."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            return {row["file"].strip(): row["case"].strip() for row in csv.DictReader(stream)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{table} can't be read ({type(error).__name__})") from error
    except (KeyError, AttributeError) as error:
        raise BadInput(f"{table} needs the columns file and case in each row") from error


def import_labels(
    labels: LabelService, source: Path, options: ImportOptions, progress: Progress = ignore_progress
) -> Iterator[Imported]:
    """Import each mask of a file or folder, one after the other; with `dry_run` nothing is stored, and the answers are
    the same.

    A mask has to lie on its case's voxels: axes may be flipped or permuted, and a `.seg.nrrd` or SEG cropped; nothing
    is ever resampled. A file of which this server has made a label, or that it has stored itself (by UID or digest),
    is known and isn't imported again. Raises `BadInput` (source or pattern) and `Unavailable` (the archive, or memory).
    """
    finder = _Finder(labels, options)
    files = list(mask_files(source))
    if not files:
        raise BadInput(f"{source} has no DICOM SEG, RT Structure Set, NIfTI, NRRD or MetaImage")
    for number, file in enumerate(files):
        progress(number / len(files), file.name)
        case_id = ""
        try:
            row = finder.case_of(file)
            case_id = row.case.id
            yield Imported(file.name, case_id, *_import_one(labels, file, row, options))
        except Unavailable:
            raise
        except SegloopError as error:
            yield Imported(file.name, case_id, "refused", str(error))
    progress(1.0)


class _Finder:
    """Matches files to cases: by the table, the manifest of an export, the series that a DICOM object refers to, or the
    file's name."""

    def __init__(self, labels: LabelService, options: ImportOptions) -> None:
        self._options = options
        self._rows = {row.case.id: row for row in labels.cases.all()}
        self._by_series = {row.case.series_uid: row for row in self._rows.values() if row.case.series_uid}
        self._by_name = {safe_name(case_id): row for case_id, row in self._rows.items()}
        try:
            self._pattern = re.compile(options.pattern) if options.pattern else None
        except re.error as error:
            raise BadInput(f"--pattern is no regular expression: {error}") from error
        if self._pattern is not None and "case" not in self._pattern.groupindex:
            raise BadInput("--pattern needs a group (?P<case>...) that is the id of the case")

    def case_of(self, file: MaskFile) -> CaseRow:
        """Raises `BadInput` with what was looked for."""
        given = self._options.cases.get(file.name) or self._options.cases.get(file.path.name)
        if given:
            return self._known(given, "the table says")
        if self._pattern is not None:
            match = self._pattern.search(file.path.name)
            if match is None:
                raise BadInput("its name doesn't match --pattern")
            return self._known(match["case"], "its name says")
        if file.told is not None:
            return self._known(str(file.told["case_id"]), "the export's manifest says")
        if file.kind != "volume":
            row = self._by_series.get(file.series)
            if row is None:
                raise BadInput(f"it refers to the series {file.series or '(none)'}, which isn't here")
            return row
        for name in (file.stem, _SUFFIX.sub("", file.stem)):
            row = self._rows.get(name) or self._by_name.get(name)
            if row is not None:
                return row
        raise BadInput(f"no case is called {file.stem!r}; say which it is with --pattern or a table (--cases)")

    def _known(self, case_id: str, who: str) -> CaseRow:
        row = self._rows.get(case_id)
        if row is None:
            raise BadInput(f"{who} that it is of {case_id!r}, which isn't here")
        return row


def _import_one(
    labels: LabelService, file: MaskFile, row: CaseRow, options: ImportOptions
) -> tuple[Literal["imported", "known"], str]:
    """Import a file, and say what. Raises what reading and submitting raise."""
    digest = file_sha256(file.path)
    known = _known_as(labels, row, file, digest)
    if known:
        return "known", known
    mask, absent, author = _read(labels, file, row)
    mask = _renamed(mask, file.values, options.names)
    info = {"imported": {"file": file.path.name, "sha256": digest, "SOPInstanceUID": file.uid}}
    submission = Submission(options.author or author or "import", CLIENT, options.tag, info=info)
    absent = None if absent is None else [options.names.get(name, name) for name in absent]
    if options.dry_run:
        return "imported", _said(labels.check_mask(row.case.id, mask, absent))
    label = labels.submit_mask(row.case.id, mask, submission, absent)
    return "imported", f"{label.tag} v{label.number}: {_said(label.states)}"


def _known_as(labels: LabelService, row: CaseRow, file: MaskFile, digest: str) -> str:
    """Which label of the case this file is already; "" if none. A deleted one can be imported again."""
    for label in labels.history(row.case.id):
        if label.deleted:
            continue
        before = labels.info(label).get("imported")
        uids = {label.sop_instance_uid, before.get("SOPInstanceUID") if isinstance(before, dict) else ""} - {""}
        digests = {label.sha256, before.get("sha256") if isinstance(before, dict) else ""}
        if digest in digests or file.uid in uids:
            return f"it is {label.tag} v{label.number}"
    return ""


def _read(labels: LabelService, file: MaskFile, row: CaseRow) -> tuple[Mask, Sequence[str] | None, str]:
    """The mask on the case's voxels, the structures that are absent (None if the file can't say), and its author."""
    geometry = labels.cases.open(row).geometry
    limit = labels.project.settings.labels.max_upload_bytes
    if file.path.stat().st_size > limit:
        raise BadInput(f"the file is larger than labels.max_upload_bytes ({limit})")
    states = file.told["states"] if file.told else None
    absent = [name for name, state in states.items() if state == "absent"] if states is not None else None
    author = str(file.told["label"]["author"]) if file.told else ""
    if file.kind == "volume":
        return read_label(file.path, geometry, max_bytes=limit), absent, author
    dataset = parse(file.path.read_bytes())
    if file.kind == "rtstruct":
        mask = read_rtstruct(dataset, geometry, max_bytes=limit)
        return mask, absent, author or str(dataset.get("OperatorsName", "") or "")
    describe_all(dataset, limit)
    mask = read_seg(dataset, geometry, max_bytes=limit)
    record = record_of(dataset)
    if record is None:
        return mask, absent, author or str(dataset.get("ContentCreatorName", "") or "")
    # A label of another segloop: its empty segments are absent, unless a model made it.
    mask = mask.renamed(list(record["structures"]))
    absent = [name for name, state in states_of(mask).items() if state == "absent"]
    return mask, absent, str(record["submission"]["author"])


def _renamed(mask: Mask, values: Mapping[int, str], names: Mapping[str, str]) -> Mask:
    """The mask with the names that were given, without what is called "ignore".

    A segment without a name is known by its voxel value. Raises `BadInput` if two become one structure.
    """
    called = []
    for segment in mask.segments:
        name = segment.name
        if name == placeholder(segment.number):
            name = names.get(str(segment.number)) or values.get(segment.number, name)
        called.append(names.get(name, name))
    mask = mask.renamed(called)
    mask = mask.keeping([s.number for s in mask.segments if s.number in mask.filled and s.name != IGNORE])
    twice = {s.name for s in mask.segments if [t.name for t in mask.segments].count(s.name) > 1}
    if twice:
        raise BadInput(f"several of its segments are {', '.join(sorted(twice))}; give each its own structure")
    return Mask(mask.layers, tuple(replace(s, algorithm_name="") for s in mask.segments), mask.geometry)


def _said(states: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {state}" for name, state in states.items() if state != "not_examined")
