"""Labels as DICOM objects that refer to their series, without the images: the stored SEG, or an RT Structure Set."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from app.archives.label_store import derived_uid
from app.core.progress import ignore_progress
from app.dicom.rtstruct import RtstructOptions, write_rtstruct
from app.errors import BadInput
from app.services.exports.files import ExportFile, OpenedCase
from app.services.exports.plan import ExportCase, Plan


class SegExport:
    """labels/NAME.dcm: the stored file as it is, so its UID is known wherever it comes back."""

    def __init__(self, plan: Plan) -> None:
        if plan.options.structures:
            raise BadInput(
                "a DICOM SEG is exported as it was stored, with all of its structures; leave out --structures"
            )

    def files(self, case: OpenedCase) -> Iterator[ExportFile]:
        _require_series(case)

        def copy(file: BinaryIO) -> None:
            with case.store.intact(case.case.label).open("rb") as stored:
                shutil.copyfileobj(stored, file)

        yield ExportFile(f"labels/{case.case.name}.dcm", "label", copy)

    def summary(self, cases: Sequence[ExportCase]) -> Iterator[tuple[str, bytes]]:
        return iter(())

    def notes(self, cases: Sequence[ExportCase]) -> Iterator[str]:
        return iter(())


class RtstructExport:
    """labels/NAME.dcm: an outline of each structure on each slice. A structure that is absent has a region of interest
    without outlines."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def files(self, case: OpenedCase) -> Iterator[ExportFile]:
        _require_series(case)

        def write(file: BinaryIO) -> None:
            row, label = case.case.row, case.case.label
            headers = case.project.volumes(row.origin).headers(row.case, ignore_progress)
            options = RtstructOptions(
                sop_instance_uid=derived_uid("rtstruct", label.sha256, *self._plan.options.structures),
                series_uid=derived_uid("rtstruct series", row.case.id, label.tag),
                description=f"Segloop {label.tag} v{label.number}",
                author=label.author,
                created=label.created,
            )
            write_rtstruct(case.exported, headers, file, options)

        yield ExportFile(f"labels/{case.case.name}.dcm", "label", write)

    def summary(self, cases: Sequence[ExportCase]) -> Iterator[tuple[str, bytes]]:
        return iter(())

    def notes(self, cases: Sequence[ExportCase]) -> Iterator[str]:
        return iter(())


def _require_series(case: OpenedCase) -> None:
    if case.case.row.case.kind != "series":
        raise BadInput("it is a volume file, and a DICOM object needs a DICOM series to refer to; export it as nifti")
