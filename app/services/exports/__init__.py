"""Labels out of segloop, as files for other programs: `segloop labels export`, `/api/v1/exports` (docs/data.md).

`export_labels` is the door. A format is a class that keeps `files.ExportFormat` and a line in `FORMATS`; the rest is
the same for all of them: which labels (`plan`), what a label map says (`labelmaps`), and the folder (`folder`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.core.mask import Code
from app.core.progress import Progress, ignore_progress
from app.errors import BadInput, Cancelled, SegloopError, Unavailable
from app.project.project import Project
from app.services.exports.bids import BidsExport
from app.services.exports.dicom import RtstructExport, SegExport
from app.services.exports.files import ExportFormat, OpenedCase, json_bytes
from app.services.exports.folder import ExportFolder, Written
from app.services.exports.msd import MsdExport
from app.services.exports.nnunet import NnunetExport
from app.services.exports.plan import ExportCase, ExportOptions, OverlapRule, Plan, plan_of
from app.services.exports.table import TableExport
from app.services.exports.volumes import NiftiExport, NrrdExport

__all__ = ["FORMATS", "MANIFEST", "ExportOptions", "ExportReport", "OverlapRule", "export_labels"]

FORMATS: Mapping[str, type[ExportFormat]] = {
    "nnunet": NnunetExport,
    "nifti": NiftiExport,
    "nrrd": NrrdExport,
    "seg": SegExport,
    "rtstruct": RtstructExport,
    "bids": BidsExport,
    "msd": MsdExport,
    "csv": TableExport,
}

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ExportReport:
    """What an export did. `left_out` says by case id why a case isn't in it; `notes` are for the user."""

    cases: int = 0
    written: int = 0
    kept: int = 0
    removed: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def export_labels(
    project: Project, folder: Path, options: ExportOptions, progress: Progress = ignore_progress
) -> ExportReport:
    """Write the newest labels under a tag, with their images where the format has them, into a folder.

    The same labels give the same bytes. Files of an earlier run that haven't changed are kept, so an export can be
    interrupted and called again. A case that can't be read or that the format can't hold is left out, and the report
    and the manifest say why.

    Raises `BadInput` (options; nothing to export; a folder of something else), `Conflict` (another process exports into
    it), `Unavailable` (the archive, or memory) and `OSError`; what is written by then is kept by the next call.
    """
    if options.format not in FORMATS:
        raise BadInput(f"there is no format {options.format!r}; there are: {', '.join(FORMATS)}")
    plan = plan_of(project, options)
    chosen = FORMATS[options.format](plan)
    left_out = dict.fromkeys(plan.silent, "its label says nothing of the exported structures")
    done: dict[ExportCase, list[Written]] = {}
    with ExportFolder.opened(folder, options.format) as target:
        for number, case in enumerate(plan.cases):
            progress(number / len(plan.cases), case.row.case.id)
            try:
                done[case] = _add(target, chosen, OpenedCase(project, case), plan)
            except (Unavailable, Cancelled):
                raise
            except SegloopError as error:
                left_out[case.row.case.id] = str(error)
        cases = list(done)
        about = [target.add_content(path, content) for path, content in chosen.summary(cases)]
        target.add_content(MANIFEST, json_bytes(_manifest(plan, done, about, left_out)))
        target.finish()
    progress(1.0)
    return ExportReport(
        len(done), target.written, target.kept, target.removed, left_out, list(chosen.notes(cases)) if cases else ()
    )


def _add(target: ExportFolder, chosen: ExportFormat, case: OpenedCase, plan: Plan) -> list[Written]:
    """Write the files of a case: all of them, or none."""
    label, image = case.case.label, case.case.row.case
    written: list[Written] = []
    try:
        for file in chosen.files(case):
            source: tuple[object, ...] = (image.id, image.stamp)
            if file.holds == "label":
                source += (label.sha256, label.id, case.case.states, plan.options, plan.structures, plan.ignore)
            written.append(target.add(file, *source))
    except SegloopError:
        for one in written:
            target.drop(one.path)
        raise
    return written


def _manifest(
    plan: Plan, done: Mapping[ExportCase, Sequence[Written]], about: Sequence[Written], left_out: Mapping[str, str]
) -> dict[str, Any]:
    """What is in the export and where it comes from. It has no time of its own: the same labels make the same file."""
    return {
        "made_by": f"segloop {version('segloop')}",
        "format": plan.options.format,
        "tag": plan.options.tag,
        "overlaps": plan.options.overlaps,
        "structures": [
            {
                "name": one.name,
                "value": one.value,
                "category": _code(one.category),
                "type": _code(one.type),
                "color": one.color,
            }
            for one in plan.structures
        ],
        "ignore": plan.ignore,
        "cases": [_described(case, files) for case, files in done.items()],
        "left_out": dict(left_out),
        "files": {one.path: one.sha256 for files in (*done.values(), about) for one in files},
    }


def _described(case: ExportCase, files: Sequence[Written]) -> dict[str, Any]:
    label, image = case.label, case.row.case
    return {
        "name": case.name,
        "case_id": image.id,
        "study_uid": image.study_uid,
        "series_uid": image.series_uid,
        "modality": case.modality,
        "patient": case.patient,
        "validation": case.validation,
        "states": dict(case.states),
        "label": {
            "tag": label.tag,
            "version": label.number,
            "author": label.author,
            "client": label.client,
            "model": label.model,
            "model_version": label.model_version,
            "comment": label.comment,
            "created": label.created.isoformat(),
            "sha256": label.sha256,
            "sop_instance_uid": label.sop_instance_uid,
        },
        "files": [one.path for one in files],
    }


def _code(code: Code) -> dict[str, str]:
    return {"value": code.value, "scheme": code.scheme, "meaning": code.meaning}
