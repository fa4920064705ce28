"""Voxel values of a LABELMAP that its header leaves out.

OHIF 3.13 was seen to describe one segment and to store two: its export lists the segments it knows by name. What a
person painted must not be dropped because of that.
"""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

from app.dicom.decoding import decode_labels
from app.dicom.parsing import PARSER_ERRORS
from app.errors import BadFile
from app.formats.volume_header import DEFAULT_MAX_BYTES


def describe_all(dataset: Dataset, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
    """Add a segment "Segment n" for every value n of a LABELMAP that none describes; other kinds stay as they are.

    Raises `BadFile`.
    """
    if dataset.get("SegmentationType") != "LABELMAP":
        return
    try:
        described = {int(item.SegmentNumber) for item in dataset.get("SegmentSequence") or ()}
        background = {0, int(dataset.get("PixelPaddingValue") or 0)}
        values: set[int] = set()
        for frame in decode_labels(dataset, max_bytes):
            values.update(np.unique(frame).tolist())
        missing = sorted(values - described - background)
        if missing:
            dataset.SegmentSequence = [*(dataset.get("SegmentSequence") or ()), *map(_segment, missing)]
    except PARSER_ERRORS as error:
        raise BadFile(f"the segmentation can't be read ({type(error).__name__})") from error


def _segment(number: int) -> Dataset:
    item = Dataset()
    item.SegmentNumber = number
    item.SegmentLabel = f"Segment {number}"
    return item
