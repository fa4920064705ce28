"""Uploads, kept in the workspace: an archive of images that clients sent."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from app.core.archive import Delivery, Fetched, Listing, Receipt
from app.core.case import Case
from app.core.progress import Progress
from app.dicom.parsing import parse
from app.dicom.series import SeriesBuilder, case_of
from app.durable import file_sha256
from app.errors import BadFile, NotSupported, UnknownCase
from app.formats.volume_files import read_header, read_volume
from app.workspace import safe_name

VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True)
class UploadArchive:
    """One folder per upload, with a volume file or the instances of one DICOM series. Labels aren't stored in it."""

    folder: Path
    max_bytes: int
    name: str = "uploads"

    def admit(self, files: list[tuple[Path, str]], case_id: str) -> Case:
        """Move uploaded files, `(path, client's file name)`, here as the images of a case.

        One volume file, or DICOM instances of one series. Raises `BadFile`; nothing is kept then.
        """
        ending = next((e for e in VOLUME_ENDINGS if files[0][1].lower().endswith(e)), "")
        place = self.folder / safe_name(case_id)
        stamp = "-".join(file_sha256(path)[:16] for path, _ in files[:1]) + f"-{len(files)}"
        target = place / stamp[:40]
        if ending and len(files) == 1:
            read_header(files[0][0], self.max_bytes)
            case = Case(id=case_id, kind="file", stamp=stamp, location=str((target / f"image{ending}").name))
        else:
            case = self._series(files, case_id, stamp)
        shutil.rmtree(place, ignore_errors=True)
        target.mkdir(parents=True)
        for number, (path, _) in enumerate(files):
            shutil.move(path, target / (f"image{ending}" if case.kind == "file" else f"{number:05d}.dcm"))
        return case

    def adopt(self, file: Path, case_id: str, digest: str) -> Case:
        """Move a NIfTI file that this server made here as the image of a case; `digest` is that of its voxels.

        Fast for any size: the file isn't read.
        """
        case = Case(id=case_id, kind="file", stamp=digest, location="image.nii")
        shutil.rmtree(self.folder / safe_name(case_id), ignore_errors=True)
        place = self.volume_file(case)
        place.parent.mkdir(parents=True)
        shutil.move(file, place)
        return case

    def volume_file(self, case: Case) -> Path:
        """The path of a case's volume file, which may have been removed."""
        return self._place(case) / case.location

    def _place(self, case: Case) -> Path:
        return self.folder / safe_name(case.id) / case.stamp[:40]

    def _series(self, files: list[tuple[Path, str]], case_id: str, stamp: str) -> Case:
        headers = [parse(path.read_bytes()) for path, _ in files]
        if len({str(h.get("SeriesInstanceUID", "")) for h in headers}) != 1:
            raise BadFile("the uploaded DICOM files are not of one series; send one series at a time")
        described = case_of(headers, stamp)
        return Case(**{**vars(described), "id": case_id, "stamp": stamp})

    def list(self, cursor: str | None) -> Listing:
        return Listing(cases=(), gone=(), cursor="")

    def fetch(self, case: Case, progress: Progress) -> Fetched:
        place = self._place(case)
        if not place.is_dir():
            raise UnknownCase(f"the uploaded image {case.id!r} is no longer here; send it again")
        if case.kind == "file":
            return Fetched(read_volume(self.volume_file(case), self.max_bytes), ())
        builder = SeriesBuilder()
        for file in sorted(place.iterdir()):
            builder.add(file.read_bytes())
        assembled = builder.build()
        return Fetched(assembled.volume, assembled.headers)

    def store(self, delivery: Delivery) -> Receipt:
        raise NotSupported("labels of uploaded images stay in the workspace")

    def remove(self, case: Case) -> None:
        shutil.rmtree(self.folder / safe_name(case.id), ignore_errors=True)

    def check(self) -> str:
        return f"uploads in {self.folder}"

    def dicomweb(self) -> None:
        """Uploads are no studies."""

    def close(self) -> None:
        """Nothing is open."""
