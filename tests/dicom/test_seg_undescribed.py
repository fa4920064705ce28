"""Voxel values that a LABELMAP's header leaves out."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from app.dicom.seg_read import describe_all, read_seg
from tests.dialects.dicomweb.segmentations import painted, segmentation
from tests.dicom.synthetic import ct_series

SHAPE = (4, 9, 7)


def stored(labelmap: bool, described: set[int]) -> tuple[Dataset, np.ndarray]:
    datasets, _ = ct_series(SHAPE, orientation="oblique", reversed=True)
    voxels = painted(SHAPE, 3)
    dataset = pydicom.dcmread(io.BytesIO(segmentation(datasets, voxels, ["a", "b", "c"], labelmap=labelmap)))
    dataset.SegmentSequence = [item for item in dataset.SegmentSequence if item.SegmentNumber in described]
    return dataset, voxels


@pytest.mark.parametrize("described", [{0, 1, 2, 3}, {1, 3}, {2}, set()])
def test_every_value_becomes_a_segment(described: set[int]) -> None:
    dataset, voxels = stored(True, described)
    describe_all(dataset)
    mask = read_seg(dataset)
    names = {1: "a", 2: "b", 3: "c"}
    expected = [names[n] if n in described else f"Segment {n}" for n in (1, 2, 3)]
    assert [segment.name for segment in mask.segments] == expected
    np.testing.assert_array_equal(mask.labelmap(), voxels)


def test_other_kinds_stay_as_they_are() -> None:
    dataset, _ = stored(False, {1, 2, 3})
    before = dataset.to_json()
    describe_all(dataset)
    assert dataset.to_json() == before
