"""A volume file as a DICOM series, for viewers that read DICOM only: one single-frame instance for each slice k.

The instances exist nowhere: headers are made from the case and the grid of its file, pixels by `volume_pixels`.
Why one instance per slice, and what the UIDs are made of: docs/decisions/0023-volume-files-as-dicom.md.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

from app.core.case import Case
from app.core.volume import Geometry, SourceSlice
from app.dicom.seg_sources import plane_text

SYNTAX = str(ExplicitVRLittleEndian)

SOP_CLASSES = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
}
"""By modality. OHIF shows no others as volumes."""

_UNKNOWN: Mapping[str, Mapping[str, str]] = {
    "CT": {"Laterality": "", "PatientPosition": "", "KVP": "", "AcquisitionNumber": ""},
    "MR": {
        **dict.fromkeys(("Laterality", "PatientPosition", "ScanOptions", "MRAcquisitionType"), ""),
        **dict.fromkeys(("RepetitionTime", "EchoTime", "EchoTrainLength"), ""),
        "ScanningSequence": "RM",  # research mode: no usual sequence
        "SequenceVariant": "NONE",
    },
    "PT": {"PatientPosition": ""},
}
"""What the standard wants to be there and a volume file doesn't know (PS3.3 C.8.2.1, C.8.3.1)."""

MOST_PIXELS = 65535
"""Rows and Columns are 16-bit numbers (PS3.3 C.7.6.3)."""

_NAMESPACE = uuid.UUID("3f0c8a52-6f9b-5d7e-8c41-0a2f6f3c9b11")
_SKEW = 5e-4
"""The largest cosine between two axes that still counts as a right angle: headers round directions."""


@dataclass(frozen=True)
class SeriesUids:
    """The UIDs that all slices of a volume file share."""

    study: str
    series: str
    frame_of_reference: str


def series_uids(case_id: str, fingerprint: str) -> SeriesUids:
    """UIDs under 2.25 (PS3.5 B.2) of the image with this fingerprint, as this case."""
    study, series, frame = (
        f"2.25.{uuid.uuid5(_NAMESPACE, f'{level}/{fingerprint}/{case_id}').int}" for level in ("study", "series", "for")
    )
    return SeriesUids(study, series, frame)


def sop_uid(series_uid: str, k: int) -> str:
    """The SOPInstanceUID of slice k: a child of the series' UID, so that k can be read from it."""
    return f"{series_uid}.{k + 1}"


def slice_of(series_uid: str, sop_instance_uid: str) -> int | None:
    """The slice of an instance; None for a UID that `sop_uid` doesn't make of this series."""
    number = sop_instance_uid.removeprefix(f"{series_uid}.")
    return int(number) - 1 if re.fullmatch(r"[1-9][0-9]{0,5}", number) else None


def refusal(geometry: Geometry, volumes: int = 1) -> str:
    """Why a volume file can't be shown as a DICOM series; "" if it can. `volumes` is the length of a fourth axis."""
    if volumes > 1:
        return f"it holds {volumes} volumes (time points?), and one is needed"
    if max(geometry.shape[1:]) > MOST_PIXELS:
        return f"a DICOM image has at most {MOST_PIXELS} rows and columns"
    unit = geometry.direction
    across = np.abs(unit.T @ unit - np.eye(3))
    if float(across.max()) > _SKEW:
        return (
            "its axes are not at right angles (a sheared grid, as of a tilted gantry), and viewers would show them as"
            " if they were; resample it to a rectangular grid, or label it in 3D Slicer"
        )
    return ""


def series_header(case: Case, geometry: Geometry) -> Dataset:
    """The attributes that all instances have: patient, study, series and image plane, without position and pixels.

    The case id is the patient's id and name, because a volume file names no patient.
    """
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.SOPClassUID = SOP_CLASSES[case.modality]
    header.ImageType = ["DERIVED", "PRIMARY", "AXIAL" if case.modality == "CT" else "OTHER"]
    header.StudyDate = header.StudyTime = header.AccessionNumber = ""
    header.Modality = case.modality
    header.Manufacturer = header.ReferringPhysicianName = ""
    header.StudyDescription = header.SeriesDescription = _text(case.location or case.id)
    header.PatientName = header.PatientID = _text(case.id)
    header.PatientBirthDate = header.PatientSex = ""
    header.StudyInstanceUID = case.study_uid
    header.SeriesInstanceUID = case.series_uid
    header.StudyID = ""
    header.SeriesNumber = "1"
    header.FrameOfReferenceUID = case.frame_of_reference_uid
    header.PositionReferenceIndicator = ""
    direction, (column_spacing, row_spacing, slice_spacing) = geometry.direction, geometry.spacing
    header.ImageOrientationPatient = plane_text([*direction[:, 0], *direction[:, 1]])
    header.PixelSpacing = plane_text([row_spacing, column_spacing])
    header.SliceThickness = header.SpacingBetweenSlices = plane_text([slice_spacing])[0]
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    _, header.Rows, header.Columns = geometry.shape
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    for keyword, value in _UNKNOWN[case.modality].items():
        setattr(header, keyword, value)
    return header


def slice_attributes(series_uid: str, geometry: Geometry, k: int) -> Dataset:
    """The attributes in which slice k differs from others."""
    own = Dataset()
    own.SOPInstanceUID = sop_uid(series_uid, k)
    own.InstanceNumber = str(k + 1)
    own.ImagePositionPatient = plane_text(geometry.to_patient((k, 0, 0)))
    return own


def slice_header(common: Dataset, geometry: Geometry, k: int) -> Dataset:
    """The header of slice k: `common` is that of the series, whose elements are shared."""
    header = Dataset()
    header.update(common)
    header.update(slice_attributes(str(common.SeriesInstanceUID), geometry, k))
    return header


def slice_headers(case: Case, geometry: Geometry) -> Sequence[Dataset]:
    """The headers of all slices, k ascending, without pixels: what a segmentation refers to."""
    common = series_header(case, geometry)
    return [slice_header(common, geometry, k) for k in range(geometry.shape[0])]


def volume_slices(case: Case, geometry: Geometry) -> list[SourceSlice]:
    """The instance of each slice, k ascending."""
    return [SourceSlice(sop_uid(case.series_uid, k), geometry.to_patient((k, 0, 0))) for k in range(geometry.shape[0])]


def _text(value: str) -> str:
    """A long string (LO): one line, 64 characters, no backslash; its end says more than its beginning."""
    line = "".join(c if c.isprintable() and c not in "\\^=" else "_" for c in value)
    return line if len(line) <= 64 else f"...{line[-61:]}"
