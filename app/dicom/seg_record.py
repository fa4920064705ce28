"""What segloop notes in a DICOM SEG about the label version that it is: a private attribute (DICOM PS3.5 7.8).

The standard's attributes have the same for other readers, shortened to what they hold: ContentCreatorName,
SeriesDescription, SegmentLabel, SegmentAlgorithmName.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydicom import Dataset

from app.dicom.parsing import PARSER_ERRORS

_GROUP, _CREATOR, _ELEMENT = 0x0099, "SEGLOOP LABEL 1", 0x01


def add_record(dataset: Dataset, record: Mapping[str, Any]) -> None:
    """Add `record` as JSON text (UT)."""
    block = dataset.private_block(_GROUP, _CREATOR, create=True)
    block.add_new(_ELEMENT, "UT", json.dumps(record, ensure_ascii=False, sort_keys=True))


def record_of(dataset: Dataset) -> dict[str, Any] | None:
    """The record of a SEG; None if it has none: an older one, one of another program, or one whose private attributes
    an archive has removed."""
    try:
        value = json.loads(str(dataset.private_block(_GROUP, _CREATOR)[_ELEMENT].value))
    except PARSER_ERRORS:
        return None
    return value if isinstance(value, dict) else None
