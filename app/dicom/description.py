"""Instance headers -> what the catalog knows of a case."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset

from app.core.case import Case
from app.dicom.uids import check_uid
from app.errors import BadInput

_LONGEST = 256


def case_of(headers: Sequence[Dataset], stamp: str, *, location: str = "", warnings: tuple[str, ...] = ()) -> Case:
    """The case that a series is. `headers` need no pixel data, in any order; `stamp` is the archive's (see `Case`).

    Raises `BadInput` without headers, or when a UID isn't one (`check_uid`).
    """
    if not headers:
        raise BadInput("a series without instances is no case")
    first = headers[0]
    series_uid = check_uid(_text(first, "SeriesInstanceUID"))
    return Case(
        id=series_uid,
        kind="series",
        stamp=stamp,
        location=location,
        patient_id=_text(first, "PatientID"),
        study_uid=check_uid(_text(first, "StudyInstanceUID")),
        series_uid=series_uid,
        modality=_text(first, "Modality"),
        description=_text(first, "SeriesDescription"),
        body_part=_text(first, "BodyPartExamined"),
        manufacturer=_text(first, "Manufacturer"),
        study_date=_text(first, "StudyDate"),
        study_time=_text(first, "StudyTime"),
        frame_of_reference_uid=_text(first, "FrameOfReferenceUID"),
        instances=len(headers),
        warnings=warnings,
    )


def _text(header: Dataset, keyword: str) -> str:
    """The value as one line without control characters, at most 256 characters; "" where the header says nothing."""
    value = header.get(keyword)
    if value is None:
        return ""
    return "".join(c for c in str(value) if c.isprintable()).strip()[:_LONGEST]
