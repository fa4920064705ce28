"""Images and labels as pairs of volume files: NIfTI label maps, or NRRD segmentations of 3D Slicer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from app.formats.nrrd_files import write_nrrd, write_seg_nrrd
from app.services.exports.files import ExportFile, OpenedCase
from app.services.exports.labelmaps import image_nifti, label_nifti
from app.services.exports.plan import ExportCase, Plan


class NiftiExport:
    """images/NAME.nii.gz, labels/NAME.nii.gz; what the values mean is in manifest.json."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def files(self, case: OpenedCase) -> Iterator[ExportFile]:
        name = case.case.name
        yield ExportFile(f"labels/{name}.nii.gz", "label", label_nifti(case, self._plan))
        yield ExportFile(f"images/{name}.nii.gz", "image", image_nifti(case))

    def summary(self, cases: Sequence[ExportCase]) -> Iterator[tuple[str, bytes]]:
        return iter(())

    def notes(self, cases: Sequence[ExportCase]) -> Iterator[str]:
        return iter(())


class NrrdExport:
    """images/NAME.nrrd, labels/NAME.seg.nrrd. A structure that is absent has a segment without voxels, one that was not
    examined has none."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def files(self, case: OpenedCase) -> Iterator[ExportFile]:
        name = case.case.name

        def label(file: BinaryIO) -> None:
            write_seg_nrrd(file, case.exported)

        yield ExportFile(f"labels/{name}.seg.nrrd", "label", label)
        yield ExportFile(f"images/{name}.nrrd", "image", lambda file: write_nrrd(file, case.volume))

    def summary(self, cases: Sequence[ExportCase]) -> Iterator[tuple[str, bytes]]:
        return iter(())

    def notes(self, cases: Sequence[ExportCase]) -> Iterator[str]:
        return iter(())
