"""Cases: listing them, reading their images, and taking uploads from clients."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.archive import NotOffered, Selective
from app.core.case import CaseRow, CaseScore
from app.core.progress import ignore_progress
from app.core.volume import SourceSlice, Volume
from app.dicom.planes import source_slices
from app.dicom.volume_series import volume_slices
from app.durable import file_sha256
from app.errors import BadInput, Conflict, UnknownCase
from app.project.project import Project


@dataclass(frozen=True)
class ImageFile:
    """A file for download. `size` is in bytes; `name` is the file name for the client, with the right extension."""

    path: Path
    sha256: str
    size: int
    name: str


@dataclass(frozen=True)
class CaseService:
    """Looks up cases and their images. Thread-safe."""

    project: Project

    def get(self, case_id: str) -> CaseRow:
        """A case by its id. Raises `UnknownCase`."""
        return self.project.catalog.cases.get(case_id)

    def shown_as(self, series_uid: str) -> CaseRow:
        """The case that viewers of DICOM see as this series: itself, or a volume file. Raises `UnknownCase`."""
        try:
            return self.get(series_uid)
        except UnknownCase:
            return self.project.catalog.cases.of_series(series_uid)

    def all(self) -> list[CaseRow]:
        """Every case, in the archive's order."""
        return self.project.catalog.cases.all()

    def page(
        self, limit: int, offset: int = 0, completed: bool | None = None, text: str = ""
    ) -> tuple[int, list[CaseRow]]:
        """How many cases match, and one page of them in the archive's order. `text` is searched for in ids, patients
        and descriptions."""
        return self.project.catalog.cases.page(limit, offset, completed, text)

    def counts(self) -> tuple[int, int]:
        """`(total, completed)`."""
        return self.project.catalog.cases.counts()

    def volume(self, case_id: str) -> Volume:
        """A case's voxels. Raises `UnknownCase`, `ArchiveUnavailable`, and `BadInput` if the images are unusable, which
        is then recorded with the case."""
        return self.open(self.get(case_id))

    def open(self, row: CaseRow) -> Volume:
        """As `volume`, for a case that was looked up already."""
        case_id = row.case.id
        try:
            volume = self.project.volumes(row.origin).volume(row.case, ignore_progress)
        except BadInput as error:
            self.project.catalog.cases.mark_problem(case_id, str(error))
            raise
        if volume.warnings != row.case.warnings:
            self.project.catalog.cases.mark_warnings(case_id, volume.warnings)
        return volume

    def slices(self, case_id: str) -> list[SourceSlice]:
        """The DICOM instance of each slice; empty for a volume file that isn't shown as a series. Raises as
        `volume`."""
        row = self.get(case_id)
        geometry = self.open(row).geometry
        if row.case.kind == "file":
            return volume_slices(row.case, geometry) if row.case.series_uid else []
        return source_slices(self.project.volumes(row.origin).headers(row.case, ignore_progress), geometry)

    def scores(self, case_id: str) -> list[CaseScore]:
        """A case's scores, newest first. Raises `UnknownCase`."""
        self.get(case_id)
        return self.project.catalog.scores.of_case(case_id)

    def score_notes(self, case_id: str) -> dict[str, dict[str, Any]]:
        """Scorer -> details of its newest score of a case: `value`, `model_version`, `slices`."""
        return self.project.catalog.scores.detail(case_id)

    def unusable(self) -> list[CaseRow]:
        """Cases that can't be opened, in the archive's order; `problem` gives the reason."""
        return self.project.catalog.cases.unusable()

    def not_offered(self) -> Sequence[NotOffered]:
        """The archive's images that are no cases, or that viewers of DICOM aren't shown; empty where it doesn't say."""
        archive = self.project.archive
        return archive.not_offered() if isinstance(archive, Selective) else ()

    def image_file(self, case_id: str) -> ImageFile:
        """A case's voxels as one NIfTI file. Raises as `volume`."""
        row = self.get(case_id)
        self.open(row)  # records warnings and problems with the case
        cached = self.project.volumes(row.origin).nifti(row.case, ignore_progress)
        return ImageFile(cached.path, cached.sha256, cached.size, f"{case_id}.nii")

    def note(self, case_id: str, noted: Mapping[str, Any]) -> None:
        """Merge `noted` into the case's client-defined info; existing keys are replaced. Raises `UnknownCase`."""
        self.project.catalog.cases.set_info(case_id, {**self.get(case_id).info, **noted})

    def add_upload(
        self, files: list[tuple[Path, str]], case_id: str, who: str, seconds: float | None = None
    ) -> CaseRow:
        """Move uploaded files, `(path, file name)`, into the upload store: one volume file, or a DICOM series.

        With `seconds` the upload is a session's image: it expires and isn't offered for labelling. A single DICOM slice
        is kept but not offered (3D Slicer sends one along with a volume). Raises `BadFile`, and `Conflict` for the id
        of a case in the archive: clients can't replace those images.
        """
        if self.project.catalog.cases.origin(case_id) == "archive":
            raise Conflict(f"{case_id!r} is an image of the archive; send yours under another name")
        case = self.project.uploads.admit(files, case_id)
        expires = time.time() + seconds if seconds is not None else None
        offered = case.kind == "file" or case.instances > 1
        self.project.catalog.cases.add_upload(case, expires, offered)
        return self.get(case_id)

    def add_by_content(self, file: Path, file_name: str, who: str, seconds: float) -> CaseRow:
        """As `add_upload` for one volume file, with an id from its content: sending it again, with the next click,
        gives the same case."""
        case_id = f"upload-{file_sha256(file)[:32]}"
        try:
            row = self.get(case_id)
        except UnknownCase:
            return self.add_upload([(file, file_name)], case_id, who, seconds)
        self.touch(row, seconds)
        return row

    def add_sent(self, file: Path, case_id: str, digest: str, seconds: float) -> Path:
        """Move a NIfTI file that this server wrote into the upload store as a session's image; returns its new path.

        It expires after `seconds`, unless the case was made permanent before. `digest` is that of the voxels.
        """
        try:
            kept = self.get(case_id).expires is None
        except UnknownCase:
            kept = False
        case = self.project.uploads.adopt(file, case_id, digest)
        self.project.catalog.cases.add_upload(case, None if kept else time.time() + seconds, offered=False)
        return self.project.uploads.volume_file(case)

    def touch(self, row: CaseRow, seconds: float, slack: float = 0.1) -> None:
        """Extend a session image's expiry to `seconds` from now; permanent images have none.

        Clicks are frequent and each write waits for the disk, so nothing is written until the fraction `slack` of the
        time has passed.
        """
        now = time.time()
        if row.expires is not None and row.expires - now < (1 - slack) * seconds:
            self.project.catalog.cases.set_expiry(row.case.id, now + seconds)

    def keep(self, case_id: str) -> None:
        """Make a session's image permanent: it no longer expires."""
        self.project.catalog.cases.set_expiry(case_id, None)

    def remove(self, case_id: str) -> None:
        """Remove a case from the catalog. An upload's files are deleted; images in the archive and labels stay."""
        row = self.get(case_id)
        self.project.catalog.cases.remove(case_id)
        if row.origin == "upload":
            self.project.uploads.remove(row.case)

    def sweep(self) -> None:
        """Remove expired session images."""
        for case in self.project.catalog.cases.expired(time.time()):
            self.remove(case.id)
