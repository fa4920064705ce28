"""Which DICOM instance is behind each slice of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from app.core.volume import Geometry
from app.dicom.planes import positions_of


@dataclass(frozen=True)
class SourceSlice:
    """One slice's instance, "" for a slice that was interpolated. `position` is the LPS millimetres of its first voxel.
    With `frames` the instance holds several slices, and is listed once."""

    sop_instance_uid: str
    position: tuple[float, float, float]
    frames: bool = False


def source_slices(headers: Sequence[Dataset], geometry: Geometry) -> list[SourceSlice]:
    """One entry per slice, k ascending; for multi-frame instances one per instance; none without headers.

    `headers` are those of a series in slice order. Slices are found by ImagePositionPatient: where some are missing
    there are fewer headers than slices.
    """
    if any("PerFrameFunctionalGroupsSequence" in header for header in headers):
        return [SourceSlice(str(header.SOPInstanceUID), _place(header), frames=True) for header in headers]
    if not headers:
        return []
    step = geometry.affine[:3, 2]
    normal = np.cross(geometry.affine[:3, 0], geometry.affine[:3, 1])
    uids = {}
    for header in headers:
        offset = np.subtract(_place(header), geometry.origin)
        uids[round(float(offset @ normal / (step @ normal)))] = str(header.SOPInstanceUID)
    return [SourceSlice(uids.get(k, ""), geometry.to_patient((k, 0, 0))) for k in range(geometry.shape[0])]


def _place(header: Dataset) -> tuple[float, float, float]:
    x, y, z = positions_of(header)[0]
    return x, y, z
