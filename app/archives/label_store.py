"""The files of label versions: immutable, and verified when read."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.catalog.labels import StoredFile
from app.core.case import Case
from app.core.label import Label
from app.core.mask import Mask
from app.core.volume import Geometry
from app.dicom.seg import SegKind, SegOptions, write_seg
from app.dicom.seg_read import read_seg
from app.durable import file_sha256, write_durably
from app.errors import IntegrityError
from app.formats.label_files import read_label, write_label_nifti
from app.workspace import safe_name

if TYPE_CHECKING:
    from pydicom import Dataset

_NAMESPACE = uuid.UUID("6f1d6a2e-5b0e-5b52-9c55-1f5a1e2b7d10")
"""The UUID namespace of label UIDs, so that a version always has the same UID."""


def derived_uid(*parts: object) -> str:
    """A DICOM UID (PS3.5 B.2, under 2.25) derived from the parts."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(str(part) for part in parts)).int}"


@dataclass(frozen=True)
class LabelStore:
    """`labels/<case>/<tag>/v0001-….dcm` (DICOM SEG of a series) or `.nii.gz` (labelmap of a volume file)."""

    folder: Path
    seg_kind: SegKind

    def write(
        self, case: Case, tag: str, number: int, mask: Mask, headers: Sequence[Dataset], author: str
    ) -> StoredFile:
        """Write a version's file durably."""
        place = self.folder / safe_name(case.id) / safe_name(tag)
        unique = uuid.uuid4().hex[:8]  # concurrent writers may use the same number; the catalog accepts one of them
        if case.kind == "file":
            final = place / f"v{number:04d}-{unique}.nii.gz"
            digest = write_durably(final, lambda file: write_label_nifti(mask, file))
            return StoredFile(str(final.relative_to(self.folder)), digest, "")
        final = place / f"v{number:04d}-{unique}.dcm"
        options = SegOptions(
            kind=self.seg_kind,
            sop_instance_uid=derived_uid("instance", case.id, tag, number, unique),
            series_uid=derived_uid("series", case.id, tag),
            instance_number=number,
            series_description=f"Segloop {tag} v{number}",
            author=author,
        )
        digest = write_durably(final, lambda file: write_seg(mask, headers, file, options))
        return StoredFile(str(final.relative_to(self.folder)), digest, options.sop_instance_uid)

    def path(self, label: Label) -> Path:
        return self.folder / label.path

    def read(self, label: Label, geometry: Geometry) -> Mask:
        """A version's mask on its case's grid. Raises `IntegrityError` if the file isn't what was written."""
        file = self.path(label)
        if not file.is_file() or file_sha256(file) != label.sha256:
            raise IntegrityError(f"the file of label {label.tag} v{label.number} of {label.case_id} is damaged or lost")
        if file.suffix == ".dcm":
            return read_seg(file, geometry).renamed([s.name for s in label.segments])
        names = [segment.name for segment in label.segments]
        mask = read_label(file, geometry, names)
        placed = zip(label.segments, mask.segments, strict=True)
        return Mask(mask.layers, tuple(replace(known, layer=read.layer) for known, read in placed), geometry)
