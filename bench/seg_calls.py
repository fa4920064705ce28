"""A DICOM SEG written and read by us, and by bare highdicom with the same type and settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from app.core.volume import Geometry
from app.dicom.seg import MAX_BINARY_SEGMENTS, SegOptions, write_seg
from app.dicom.seg_read import read_seg
from bench.data import mask, names


def headers_in(folder: Path) -> list[Dataset]:
    """The series' headers in slice order, without pixels."""
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in folder.glob("*.dcm")]
    return sorted(headers, key=lambda header: float(header.ImagePositionPatient[2]))


def write_ours(
    labelmap: NDArray[np.uint8], count: int, geometry: Geometry, headers: Sequence[Dataset], file: Path
) -> None:
    options = SegOptions(sop_instance_uid=generate_uid(), series_uid=generate_uid())
    write_seg(mask(labelmap, count, geometry), headers, file, options)


def write_highdicom(labelmap: NDArray[np.uint8], count: int, headers: Sequence[Dataset], file: Path) -> None:
    binary = count <= MAX_BINARY_SEGMENTS
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Organ,
            algorithm_type="MANUAL",
        )
        for number, name in enumerate(names(count), start=1)
    ]
    segmentation = highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=labelmap,
        segmentation_type="BINARY" if binary else "LABELMAP",
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=1000,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="bench",
        manufacturer_model_name="bench",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=ExplicitVRLittleEndian if binary else RLELossless,
        omit_empty_frames=True,
    )
    segmentation.save_as(file)


def read_ours(file: Path, geometry: Geometry) -> NDArray[np.unsignedinteger]:
    return read_seg(file, geometry).labelmap()


def read_highdicom(file: Path) -> NDArray[np.generic]:
    segmentation = highdicom.seg.segread(str(file))
    volume = segmentation.get_volume(combine_segments=True, dtype=np.uint8, allow_missing_positions=True)
    return np.asarray(volume.array)
