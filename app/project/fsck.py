"""Whether the catalog and the label files of a workspace agree, and making the rows that are missing.

A version's file is written before its row, and never changes: a file without a row is one of a submission that was
killed before it was answered, or of a catalog that was lost. A DICOM SEG says of itself what its row would
(`LabelStore.recorded`); so does the SEG beside a labelmap of a volume file, which alone doesn't.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from app.archives.label_store import LabelStore, RecordedLabel
from app.catalog import Catalog, backups
from app.catalog.labels import NewLabel, StoredFile
from app.core.case import Case, Origin
from app.core.label import FINAL
from app.dicom.parsing import parse
from app.durable import file_sha256
from app.errors import ConfigurationError, Conflict, SegloopError
from app.workspace import Workspace, safe_name, seg_beside


@dataclass
class Report:
    """`problems` are what is wrong, one line each; `done` is what was repaired."""

    problems: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)


def check(paths: Workspace) -> Report:
    """Compare the catalog with the label files, and read all of them. Nothing is changed but an older catalog's schema,
    which is upgraded as at a start."""
    report = Report()
    try:
        catalog = Catalog.open(paths.catalog)
    except ConfigurationError as error:
        report.problems.append(str(error))
        return report
    try:
        _check_catalog(paths, catalog, report)
        for name in _unknown(paths, catalog):
            report.problems.append(f"{name} is in no row of the catalog")
    finally:
        catalog.close()
    return report


def repair(paths: Workspace, store: LabelStore) -> Report:
    """`check`, and make the rows of label files that have none. A catalog that is damaged is set aside, and a new one
    made. Hold the workspace's lock. Raises `ConfigurationError` for a catalog of a newer segloop."""
    report = Report()
    if paths.catalog.exists():
        try:
            backups.label_paths(paths.catalog)
        except backups.NewerCatalog:
            raise
        except ConfigurationError as error:
            report.done.append(f"{error}: it is kept as {backups.set_aside(paths.catalog)}, and a new one made")
    catalog = Catalog.open(paths.catalog, rebuilding=True)
    try:
        for name in _unknown(paths, catalog):
            _rebuild(paths, catalog, store, name, report)
        for left in _unfinished(paths):
            left.unlink()
            report.done.append(f"removed {left.relative_to(paths.labels)}, of a submission that was never finished")
        _check_catalog(paths, catalog, report)
    finally:
        catalog.close()
    return report


def _check_catalog(paths: Workspace, catalog: Catalog, report: Report) -> None:
    _note(report, catalog.database.check)
    row = catalog.audit.first_broken_row()
    if row is not None:
        report.problems.append(f"the audit trail was changed at row {row}")
    for label in catalog.labels.all_versions():
        file = paths.labels / label.path
        if not file.is_file():
            report.problems.append(f"{label.path} is lost: {label.tag} v{label.number} of {label.case_id}")
        elif file_sha256(file) != label.sha256:
            report.problems.append(f"{label.path} is damaged: {label.tag} v{label.number} of {label.case_id}")
    for left in _unfinished(paths):
        report.problems.append(f"{left.relative_to(paths.labels)} is of a submission that was never finished")


def _note(report: Report, work: Callable[[], object]) -> None:
    try:
        work()
    except SegloopError as error:
        report.problems.append(str(error))


def _unknown(paths: Workspace, catalog: Catalog) -> list[str]:
    """Label files without rows, oldest first: a version's row comes before those of later ones."""
    names = backups.label_files(paths.catalog, {label.path for label in catalog.labels.all_versions()})
    # The labelmap of a volume file is found by the SEG beside it, which says what it is.
    names = [name for name in names if name.endswith(".dcm") or seg_beside(name) not in names]
    return sorted(names, key=lambda name: (paths.labels / name).stat().st_mtime)


def _unfinished(paths: Workspace) -> list[Path]:
    return sorted(path for path in paths.labels.rglob(".writing-*") if path.is_file())


def _rebuild(paths: Workspace, catalog: Catalog, store: LabelStore, name: str, report: Report) -> None:
    file = paths.labels / name
    try:
        recorded = store.recorded(file) if file.suffix == ".dcm" else None
        if recorded is None:
            report.problems.append(f"{name} is in no row of the catalog, and doesn't say whose version of what it is")
            return
        origin: Origin = "upload" if (paths.uploads / safe_name(recorded.case_id)).is_dir() else "archive"
        catalog.cases.add_missing(_case(file, recorded), origin)
        submission = recorded.submission
        new = NewLabel(recorded.case_id, submission, recorded.segments, recorded.states, "")
        labelled = file.with_name(Path(recorded.volume_file).name) if recorded.volume_file else file
        path = str(labelled.relative_to(paths.labels))
        stored = StoredFile(path, file_sha256(labelled), recorded.sop_instance_uid)
        deliver = submission.tag == FINAL and origin == "archive"
        catalog.labels.rebuild(new, recorded.number, stored, file.stat().st_mtime, deliver)
    except (SegloopError, LookupError, OSError, TypeError, ValueError) as error:
        why = str(error) if isinstance(error, (Conflict, ConfigurationError)) else f"it can't be read: {error}"
        report.problems.append(f"{name} is in no row of the catalog: {why}")
        return
    report.done.append(f"{name} is {submission.tag} v{recorded.number} of {recorded.case_id} by {submission.author}")


def _case(file: Path, recorded: RecordedLabel) -> Case:
    """The case of a label, as far as the label's file says."""
    header = parse(file.read_bytes())
    series = next((str(one.get("SeriesInstanceUID", "")) for one in header.get("ReferencedSeriesSequence") or ()), "")

    def text(keyword: str) -> str:
        return str(header.get(keyword, "") or "")

    return Case(
        id=recorded.case_id,
        kind="file" if recorded.volume_file else "series",
        stamp="",  # that of no listing: the next one completes the row
        patient_id=text("PatientID"),
        study_uid=text("StudyInstanceUID"),
        series_uid=series,
        study_date=text("StudyDate"),
        study_time=text("StudyTime"),
        frame_of_reference_uid=text("FrameOfReferenceUID"),
    )
