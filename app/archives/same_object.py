"""Is the DICOM object that an archive holds the one that was sent?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.dicom.parsing import PARSER_ERRORS

if TYPE_CHECKING:
    from pydicom import Dataset

COMPARED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "SegmentationType",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "SegmentSequence",
    "ReferencedSeriesSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""What makes a label: archives may coerce a patient's name, they may not touch these."""


def difference(sent: Dataset, held: Dataset) -> str | None:
    """What differs between two objects, in words; None if they are the same label.

    The pixels are compared as stored bytes, and decoded where the archive changed the transfer syntax.
    """
    for keyword in COMPARED:
        if sent.get(keyword) != held.get(keyword):
            return f"{keyword} differs"
    if sent.get("PixelData") == held.get("PixelData"):
        return None
    try:
        same = sent.pixel_array.tobytes() == held.pixel_array.tobytes()
    except PARSER_ERRORS:
        return "PixelData can't be decoded"
    return None if same else "PixelData differs"
