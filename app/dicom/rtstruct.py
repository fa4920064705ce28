"""A Mask -> a DICOM RT Structure Set (PS3.3 A.19)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage
from pydicom.valuerep import format_number_as_ds

from app.core.mask import Mask, Segment
from app.core.volume import Geometry
from app.dicom.codes import codes_of
from app.dicom.outlines import Points, outlines_of
from app.dicom.planes import positions_of
from app.dicom.seg_sources import source_images
from app.dicom.values import check_uid
from app.errors import BadInput

_FROM_SOURCE = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyInstanceUID",
    "StudyDescription",
)
_STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management, retired: what RT Referenced Study Sequence has held since (PS3.3 C.8.8.5)."""
_PRECISION = 1e-4
"""Of coordinates, in voxels. Outlines leave a hundred times as much room (`app.dicom.outlines`)."""


@dataclass(frozen=True)
class RtstructOptions:
    """UIDs and attributes of a structure set, which the caller provides as for `SegOptions`."""

    sop_instance_uid: str
    series_uid: str
    description: str
    author: str
    created: datetime


@dataclass(frozen=True)
class _Image:
    """An instance, and the number of the frame in it (None: it has one only)."""

    header: Dataset
    frame: int | None


def write_rtstruct(mask: Mask, headers: Sequence[Dataset], file: BinaryIO, options: RtstructOptions) -> None:
    """Write `mask`, on the grid of the series that `headers` belong to, as outlines on its slices.

    Every segment is a region of interest; one without voxels has no outlines. The outlines give back exactly the same
    voxels (`app.dicom.outlines`); overlaps are kept. Raises `BadInput` for a series that can't be referred to, and a
    mask without segments.
    """
    if not mask.segments:
        raise BadInput("a label without segments can't be stored")
    first = source_images(headers, mask.geometry)[0]
    dataset = Dataset()
    for keyword in _FROM_SOURCE:
        if first.get(keyword) is not None:
            dataset[keyword] = first[keyword]
    _describe(dataset, options)
    dataset.FrameOfReferenceUID = str(first.FrameOfReferenceUID)
    dataset.PositionReferenceIndicator = ""
    images = _images(headers, mask.geometry)
    dataset.ReferencedFrameOfReferenceSequence = [_referenced(first, headers)]
    segments = mask.segments
    dataset.StructureSetROISequence = [_region(one, str(first.FrameOfReferenceUID)) for one in segments]
    dataset.ROIContourSequence = [_contours(mask, one, images) for one in segments]
    dataset.RTROIObservationsSequence = [_observation(one) for one in segments]
    dataset.file_meta = FileMetaDataset()
    # With explicit value representations an outline is limited to 64 KiB of text, some thousand points (PS3.5 7.1.2).
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(file, enforce_file_format=True)


def _describe(dataset: Dataset, options: RtstructOptions) -> None:
    date, time = options.created.strftime("%Y%m%d"), options.created.strftime("%H%M%S")
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = check_uid(options.sop_instance_uid)
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesInstanceUID = check_uid(options.series_uid)
    dataset.SeriesNumber = 1001
    dataset.SeriesDescription = _text(options.description, 64)
    dataset.OperatorsName = _text(options.author, 64).replace("=", "-")
    dataset.Manufacturer = dataset.ManufacturerModelName = "segloop"
    dataset.InstanceNumber = 1
    dataset.StructureSetLabel = "SEGLOOP"
    dataset.StructureSetName = _text(options.description, 64)
    dataset.StructureSetDate, dataset.StructureSetTime = date, time
    dataset.TimezoneOffsetFromUTC = options.created.strftime("%z") or "+0000"
    dataset.ApprovalStatus = "UNAPPROVED"


def _images(headers: Sequence[Dataset], geometry: Geometry) -> Mapping[int, _Image]:
    """The image at each slice k. An interpolated slice has none."""
    inverse = np.linalg.inv(geometry.affine)
    found: dict[int, _Image] = {}
    for header in headers:
        several = "PerFrameFunctionalGroupsSequence" in header
        for frame, position in enumerate(positions_of(header), start=1):
            k = float((inverse @ [*position, 1.0])[2])
            if abs(k - round(k)) < 0.1:
                found.setdefault(round(k), _Image(header, frame if several else None))
    return found


def _referenced(first: Dataset, headers: Sequence[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = str(first.SeriesInstanceUID)
    series.ContourImageSequence = [_reference(_Image(header, None)) for header in headers]
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_COMPONENT
    study.ReferencedSOPInstanceUID = str(first.StudyInstanceUID)
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = str(first.FrameOfReferenceUID)
    frame.RTReferencedStudySequence = [study]
    return frame


def _reference(image: _Image) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = str(image.header.SOPClassUID)
    item.ReferencedSOPInstanceUID = str(image.header.SOPInstanceUID)
    if image.frame is not None:
        item.ReferencedFrameNumber = image.frame
    return item


def _region(segment: Segment, frame_of_reference: str) -> Dataset:
    item = Dataset()
    item.ROINumber = segment.number
    item.ReferencedFrameOfReferenceUID = frame_of_reference
    item.ROIName = _text(segment.name, 64)
    if item.ROIName != segment.name:
        item.ROIDescription = segment.name[:1024]
    item.ROIGenerationAlgorithm = segment.algorithm
    return item


def _contours(mask: Mask, segment: Segment, images: Mapping[int, _Image]) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber = segment.number
    if segment.color is not None:
        item.ROIDisplayColor = list(segment.color)
    layer = mask.layers[segment.layer]
    contours = []
    for k, plane in enumerate(layer):
        voxels = plane == segment.number
        for outline in outlines_of(voxels) if voxels.any() else ():
            contours.append(_contour(outline, k, mask.geometry, images.get(k)))
    if contours:
        item.ContourSequence = contours
    return item


def _contour(outline: Points, k: int, geometry: Geometry, image: _Image | None) -> Dataset:
    item = Dataset()
    if image is not None:
        item.ContourImageSequence = [_reference(image)]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(outline)
    item.ContourData = list(_coordinates(outline, k, geometry))
    return item


def _coordinates(outline: Points, k: int, geometry: Geometry) -> Iterator[str]:
    """LPS millimetres `x, y, z, x, ...`, with no more digits than they need."""
    digits = max(0, -math.floor(math.log10(_PRECISION * min(geometry.spacing[:2]))))
    index = np.stack([outline[:, 1], outline[:, 0], np.full(len(outline), float(k)), np.ones(len(outline))])
    for value in (geometry.affine @ index)[:3].T.ravel():
        # Adding zero turns -0.0, which some readers can't parse, into 0.0.
        text = f"{round(float(value), digits) + 0.0:.{digits}f}"
        yield text if len(text) <= 16 else format_number_as_ds(float(value))


def _observation(segment: Segment) -> Dataset:
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = segment.number
    item.ROIObservationLabel = _text(segment.name, 16)
    category, kind = codes_of(segment)
    coded = Dataset()
    coded.CodeValue, coded.CodingSchemeDesignator, coded.CodeMeaning = kind.value, kind.scheme, kind.meaning[:64]
    item.RTROIIdentificationCodeSequence = [coded]
    item.RTROIInterpretedType = "ORGAN" if category.value == "91723000" else ""
    item.ROIInterpreter = ""
    return item


def _text(text: str, most: int) -> str:
    return "".join(c if c.isprintable() else " " for c in text).replace("\\", "/").strip()[:most]
