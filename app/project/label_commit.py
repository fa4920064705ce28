"""Storing a mask as a label version: first the durable file, then one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.catalog.labels import NewLabel
from app.core.case import CaseRow
from app.core.label import FINAL, Label, Submission, states_of
from app.core.mask import Mask
from app.core.progress import ignore_progress
from app.core.volume import Geometry
from app.dicom.volume_series import slice_headers
from app.errors import Conflict
from app.project.project import Project

if TYPE_CHECKING:
    from pydicom import Dataset


def commit_label(project: Project, row: CaseRow, mask: Mask, submission: Submission, submitted_sha256: str) -> Label:
    """Store `mask` as the next version of a label of the case. Durable when this returns.

    What it says of each structure is `states_of(mask)`. `submitted_sha256` is the digest of what the client sent.

    Final labels are delivered to the archive through the outbox; others stay here. Idempotent: the same bytes from the
    same author return the existing version. Raises what `VolumeCache.headers` and `LabelStore.write` raise.
    """
    labels = project.catalog.labels
    new = NewLabel(row.case.id, submission, mask.segments, states_of(mask), submitted_sha256)
    known = labels.find_retry(new)
    if known is not None:
        return known
    headers = shown_headers(project, row, mask.geometry)
    while True:
        number = labels.next_number(new.case_id, new.tag)
        stored = project.labels.write(row.case, submission, number, mask, headers)
        try:
            return labels.append(new, number, stored, deliver=new.tag == FINAL)
        except Conflict:
            # A concurrent writer took the number, which is part of the file: write it again with the next one.
            project.labels.remove(stored)


def shown_headers(project: Project, row: CaseRow, geometry: Geometry) -> Sequence[Dataset]:
    """The instance headers that a segmentation of the case refers to, in slice order.

    Empty for a volume file that isn't shown as a series. `geometry` is that of the case. Raises what
    `VolumeCache.headers` raises.
    """
    if row.case.kind == "series":
        return project.volumes(row.origin).headers(row.case, ignore_progress)
    return slice_headers(row.case, geometry) if row.case.series_uid else ()
