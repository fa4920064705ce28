"""The source images of a segmentation, as highdicom needs them.

Real headers lack type 2 attributes, round the same orientation differently from slice to slice, and have gaps.
highdicom refuses all that. So it is given reduced images: the patient, the study and the references as they are, the
geometry as the volume has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from app.core.volume import Geometry
from app.dicom.planes import positions_of
from app.errors import BadInput

# Patient and General Study attributes of type 2 (DICOM PS3.3 C.7.1.1, C.7.2.1): may be empty, must be there.
_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
_PIXELS = slice(0x7FE00000, None)


def source_images(headers: Sequence[Dataset], geometry: Geometry) -> list[Dataset]:
    """One image per header, the first with the whole header. Raises `BadInput` if the series can't be referenced."""
    if not headers:
        raise BadInput("a label needs the headers of its source images")
    for header in headers:
        for keyword in _NEEDED:
            if not header.get(keyword):
                raise BadInput(
                    f"the source images have no {keyword}, so a DICOM segmentation can't refer to them;"
                    " label this case as a volume file"
                )
    return [_reduced(header, geometry, whole=number == 0) for number, header in enumerate(headers)]


def plane_text(values: Sequence[float]) -> list[str]:
    """Millimetres or cosines as decimal strings of at most 16 characters (DICOM PS3.5 6.2)."""
    # Adding zero turns -0.0, which some readers choke on, into 0.0.
    return [format_number_as_ds(float(value) + 0.0) for value in values]


def _reduced(header: Dataset, geometry: Geometry, *, whole: bool) -> Dataset:
    image = header[: _PIXELS.start] if whole else Dataset()
    if whole:
        for keyword in _MAY_BE_EMPTY:
            if image.get(keyword) is None:
                setattr(image, keyword, "")
        if image.PatientSex not in ("M", "F", "O", ""):
            image.PatientSex = ""
    for keyword in _NEEDED:
        setattr(image, keyword, header.get(keyword))
    _, image.Rows, image.Columns = geometry.shape
    direction, (column_spacing, row_spacing, _) = geometry.direction, geometry.spacing
    orientation = plane_text([*direction[:, 0], *direction[:, 1]])
    spacing = plane_text([row_spacing, column_spacing])
    normal = np.cross(direction[:, 0], direction[:, 1])
    between = plane_text([abs(float(normal @ geometry.affine[:3, 2]))])[0]
    positions = [plane_text(position) for position in positions_of(header)]
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = spacing, between, between
    if "PerFrameFunctionalGroupsSequence" not in header:
        image.ImagePositionPatient, image.ImageOrientationPatient = positions[0], orientation
        image.update(measures)
        return image
    plane = Dataset()
    plane.ImageOrientationPatient = orientation
    shared = Dataset()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [_frame(position) for position in positions]
    image.NumberOfFrames = len(positions)
    return image


def _frame(position: list[str]) -> Dataset:
    place = Dataset()
    place.ImagePositionPatient = position
    frame = Dataset()
    frame.PlanePositionSequence = [place]
    return frame
