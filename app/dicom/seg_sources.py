"""The source images of a segmentation, in the form that highdicom accepts.

Real headers lack type 2 attributes, round one orientation differently from slice to slice, and have gaps, which
highdicom refuses. So it gets reduced images: patient, study and references as stored, and the volume's geometry.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset
from pydicom.valuerep import DA, TM, format_number_as_ds

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
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID", "SOPClassUID")
_PIXELS = 0x7FE00000


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
    common = _common(headers[0], geometry)
    images = []
    for number, header in enumerate(headers):
        image = _completed(header) if number == 0 else Dataset()
        # The elements are shared: creating and validating them for each slice takes longer than all else.
        image.update(common)
        for keyword in ("SOPInstanceUID", "SOPClassUID"):
            image[keyword] = header[keyword]
        _place(image, header, common)
        images.append(image)
    return images


def plane_text(values: Sequence[float]) -> list[str]:
    """Millimetres or cosines as decimal strings of at most 16 characters (DICOM PS3.5 6.2)."""
    # Adding zero turns -0.0, which some readers can't parse, into 0.0.
    return [format_number_as_ds(float(value) + 0.0) for value in values]


def _completed(header: Dataset) -> Dataset:
    """A copy of the whole header, without pixel data, with the attributes that highdicom requires."""
    image = header[:_PIXELS]
    for keyword in _MAY_BE_EMPTY:
        if image.get(keyword) is None:
            setattr(image, keyword, "")
    if image.PatientSex not in ("M", "F", "O"):
        image.PatientSex = ""
    # An invalid date in a source must not prevent storing its label: empty is allowed.
    for keyword, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        try:
            kind(str(image[keyword].value))
        except ValueError:
            setattr(image, keyword, "")
    return image


def _common(header: Dataset, geometry: Geometry) -> Dataset:
    common = Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        common[keyword] = header[keyword]
    _, common.Rows, common.Columns = geometry.shape
    direction, (column_spacing, row_spacing, _) = geometry.direction, geometry.spacing
    normal = np.cross(direction[:, 0], direction[:, 1])
    common.ImageOrientationPatient = plane_text([*direction[:, 0], *direction[:, 1]])
    common.PixelSpacing = plane_text([row_spacing, column_spacing])
    # The distance along the normal: on a sheared grid the step from slice to slice is longer.
    common.SpacingBetweenSlices = plane_text([abs(float(normal @ geometry.affine[:3, 2]))])[0]
    common.SliceThickness = common.SpacingBetweenSlices
    return common


def _place(image: Dataset, header: Dataset, common: Dataset) -> None:
    """Set position, orientation and spacing where the type of image has them."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        image["ImagePositionPatient"] = header["ImagePositionPatient"]
        return
    plane, measures, shared = Dataset(), Dataset(), Dataset()
    plane["ImageOrientationPatient"] = common["ImageOrientationPatient"]
    for keyword in ("PixelSpacing", "SpacingBetweenSlices", "SliceThickness"):
        measures[keyword] = common[keyword]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [_frame(position) for position in positions_of(header)]
    image.NumberOfFrames = len(image.PerFrameFunctionalGroupsSequence)


def _frame(position: Sequence[float]) -> Dataset:
    place = Dataset()
    place.ImagePositionPatient = plane_text(position)
    frame = Dataset()
    frame.PlanePositionSequence = [place]
    return frame
