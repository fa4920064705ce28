"""Segmentations as viewers store them, made by highdicom."""

from __future__ import annotations

import io
from collections.abc import Sequence

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid


def in_slice_order(datasets: Sequence[Dataset]) -> list[Dataset]:
    """k ascends along row x column."""

    def along(dataset: Dataset) -> float:
        row, column = np.split(np.array(dataset.ImageOrientationPatient, float), 2)
        return float(np.cross(row, column) @ np.array(dataset.ImagePositionPatient, float))

    return sorted(datasets, key=along)


def segmentation(
    datasets: Sequence[Dataset], voxels: NDArray[np.uint8], names: Sequence[str], *, labelmap: bool
) -> bytes:
    """A SEG of `voxels` `(k, j, i)`: a LABELMAP in RLE, as OHIF exports by default, or BINARY."""
    code = hd.sr.CodedConcept.from_code(codes.SCT.Organ)
    described = [
        hd.seg.SegmentDescription(n, name, code, code, hd.seg.SegmentAlgorithmTypeValues.MANUAL)
        for n, name in enumerate(names, start=1)
    ]
    kind = hd.seg.SegmentationTypeValues
    made = hd.seg.Segmentation(
        source_images=in_slice_order(datasets),
        pixel_array=voxels,
        segmentation_type=kind.LABELMAP if labelmap else kind.BINARY,
        segment_descriptions=described,
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="a viewer",
        manufacturer_model_name="a viewer",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=RLELossless if labelmap else ExplicitVRLittleEndian,
    )
    stream = io.BytesIO()
    made.save_as(stream)
    return stream.getvalue()


def painted(shape: tuple[int, int, int], segments: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, segments + 1, shape, np.uint8)
