"""Reading search results in the DICOM JSON model (PS3.18 annex F)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from app.core.case import Case
from app.errors import BadInput

Entry = Mapping[str, Any]
"""One search result: tag in hexadecimal to `{"vr": ..., "Value": [...]}`."""

CASE_FIELDS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "PatientID",
    "StudyDate",
    "StudyTime",
    "SeriesDescription",
    "BodyPartExamined",
    "Manufacturer",
    "FrameOfReferenceUID",
    "NumberOfSeriesRelatedInstances",
)
"""The attributes that a `Case` is built from; all but the UIDs and the modality may be missing."""


def tag_of(keyword: str) -> str:
    """The tag of a keyword as in DICOM JSON: 8 hexadecimal digits. Raises `KeyError` for an unknown keyword."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return f"{tag:08X}"


def text(entry: Entry, keyword: str) -> str:
    """The first value of an attribute as text; empty if it is missing or has none."""
    element = entry.get(tag_of(keyword))
    values = element.get("Value") if isinstance(element, Mapping) else None
    if not isinstance(values, list) or not values or values[0] is None:
        return ""
    value = values[0]
    if isinstance(value, Mapping):
        value = value.get("Alphabetic", "")
    return str(value).strip(" \0")


def case_of_entry(entry: Entry, location: str = "") -> Case | None:
    """The case of a series-level search result; None if its UIDs are missing or invalid.

    The stamp is a digest of all `CASE_FIELDS`, which include the number of instances.
    """
    from app.dicom.values import check_uid

    values = {keyword: text(entry, keyword) for keyword in CASE_FIELDS}
    try:
        check_uid(values["StudyInstanceUID"])
        check_uid(values["SeriesInstanceUID"])
    except BadInput:
        return None
    count = values["NumberOfSeriesRelatedInstances"]
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return Case(
        id=values["SeriesInstanceUID"],
        kind="series",
        stamp=f"{count or 'n'}-{digest[:16]}",
        location=location,
        patient_id=values["PatientID"],
        study_uid=values["StudyInstanceUID"],
        series_uid=values["SeriesInstanceUID"],
        modality=values["Modality"],
        description=values["SeriesDescription"],
        body_part=values["BodyPartExamined"],
        manufacturer=values["Manufacturer"],
        study_date=values["StudyDate"],
        study_time=values["StudyTime"],
        frame_of_reference_uid=values["FrameOfReferenceUID"],
        instances=int(count) if count.isascii() and count.isdigit() and len(count) < 10 else 0,
    )
