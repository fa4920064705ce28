"""Looking at cases: what there is, their images, and images that clients send."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.case import CaseRow, CaseScore
from app.core.progress import ignore_progress
from app.core.volume import SourceSlice, Volume
from app.dicom.planes import source_slices
from app.durable import file_sha256
from app.errors import BadInput, Conflict, UnknownCase
from app.project.project import Project


@dataclass(frozen=True)
class ImageFile:
    """A file for a client to download; `name` is what to call it there and has the right ending."""

    path: Path
    sha256: str
    size: int
    name: str


@dataclass(frozen=True)
class CaseService:
    project: Project

    def get(self, case_id: str) -> CaseRow:
        """Raises `UnknownCase`."""
        return self.project.catalog.cases.get(case_id)

    def all(self) -> list[CaseRow]:
        return self.project.catalog.cases.all()

    def page(
        self, limit: int, offset: int = 0, completed: bool | None = None, text: str = ""
    ) -> tuple[int, list[CaseRow]]:
        """How many cases match, and a part of them in the archive's order. `text` is looked for in ids, patients and
        descriptions."""
        return self.project.catalog.cases.page(limit, offset, completed, text)

    def counts(self) -> tuple[int, int]:
        """`(total, completed)`."""
        return self.project.catalog.cases.counts()

    def volume(self, case_id: str) -> Volume:
        """A case's voxels. Raises `UnknownCase`, `ArchiveUnavailable`; `BadInput` if the images are unusable, which is
        then noted on the case."""
        return self.open(self.get(case_id))

    def open(self, row: CaseRow) -> Volume:
        """The same for a case that was looked up already."""
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
        """Which DICOM instance is behind each slice; none for a volume file. Errors as for `volume`."""
        row = self.get(case_id)
        geometry = self.open(row).geometry
        return source_slices(self.project.volumes(row.origin).headers(row.case, ignore_progress), geometry)

    def scores(self, case_id: str) -> list[CaseScore]:
        """What scorers said about a case, newest first. Raises `UnknownCase`."""
        self.get(case_id)
        return self.project.catalog.scores.of_case(case_id)

    def score_notes(self, case_id: str) -> dict[str, dict[str, Any]]:
        """What scorers noted about a case with their newest score of it: `value`, `model_version`, `slices`."""
        return self.project.catalog.scores.detail(case_id)

    def unusable(self) -> list[CaseRow]:
        """Cases that can't be opened, in the archive's order; their `problem` says why."""
        return self.project.catalog.cases.unusable()

    def image_file(self, case_id: str) -> ImageFile:
        """A case's voxels as one NIfTI file. Errors as for `volume`."""
        row = self.get(case_id)
        self.open(row)  # notes warnings and problems on the case
        cached = self.project.volumes(row.origin).nifti(row.case, ignore_progress)
        return ImageFile(cached.path, cached.sha256, cached.size, f"{case_id}.nii")

    def note(self, case_id: str, noted: Mapping[str, Any]) -> None:
        """Add to what clients noted about a case, or replace it key by key. Raises `UnknownCase`."""
        self.project.catalog.cases.set_info(case_id, {**self.get(case_id).info, **noted})

    def add_upload(
        self, files: list[tuple[Path, str]], case_id: str, who: str, seconds: float | None = None
    ) -> CaseRow:
        """Take over files a client sent, `(path, file name)`: one volume file, or the instances of a DICOM series.

        With `seconds` they are a session's image: it expires, and nobody is offered it. A single DICOM slice is kept
        but not offered (3D Slicer sends one along with a volume). Raises `BadFile`, and `Conflict` for the id of a
        case in the archive, whose images nobody replaces from outside.
        """
        if self.project.catalog.cases.origin(case_id) == "archive":
            raise Conflict(f"{case_id!r} is an image of the archive; send yours under another name")
        case = self.project.uploads.admit(files, case_id)
        expires = time.time() + seconds if seconds is not None else None
        offered = case.kind == "file" or case.instances > 1
        self.project.catalog.cases.add_upload(case, expires, offered)
        return self.get(case_id)

    def add_by_content(self, file: Path, file_name: str, who: str, seconds: float) -> CaseRow:
        """The same for one volume file, named by its content: whoever sends it again, with the next click, gets the
        same case."""
        case_id = f"upload-{file_sha256(file)[:32]}"
        try:
            row = self.get(case_id)
        except UnknownCase:
            return self.add_upload([(file, file_name)], case_id, who, seconds)
        self.touch(row, seconds)
        return row

    def add_sent(self, file: Path, case_id: str, digest: str, seconds: float) -> Path:
        """Take over a NIfTI file of the server's own making as a session's image, and say where it is now. One that
        was kept for good stays so; others expire after `seconds`. `digest` is that of its voxels."""
        try:
            kept = self.get(case_id).expires is None
        except UnknownCase:
            kept = False
        case = self.project.uploads.adopt(file, case_id, digest)
        self.project.catalog.cases.add_upload(case, None if kept else time.time() + seconds, offered=False)
        return self.project.uploads.volume_file(case)

    def touch(self, row: CaseRow, seconds: float, slack: float = 0.1) -> None:
        """Restart a session image's clock; one that was kept has none. Clicks come often and each write waits for the
        disk, so nothing is written as long as no more than this part of the time has passed."""
        now = time.time()
        if row.expires is not None and row.expires - now < (1 - slack) * seconds:
            self.project.catalog.cases.set_expiry(row.case.id, now + seconds)

    def keep(self, case_id: str) -> None:
        """Make a session's image a case like any other: it no longer expires."""
        self.project.catalog.cases.set_expiry(case_id, None)

    def remove(self, case_id: str) -> None:
        """Forget a case: an upload's files go, images in the archive stay where they are, labels stay here."""
        row = self.get(case_id)
        self.project.catalog.cases.remove(case_id)
        if row.origin == "upload":
            self.project.uploads.remove(row.case)

    def sweep(self) -> None:
        """Forget session images whose time is over."""
        for case in self.project.catalog.cases.expired(time.time()):
            self.remove(case.id)
