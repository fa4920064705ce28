"""A Mask -> a DICOM Segmentation file (PS3.3 A.51 and A.103)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from app.core.mask import Code, Mask, Segment
from app.core.volume import Geometry
from app.dicom.codes import codes_of
from app.dicom.ordering import SPACING_TOLERANCE
from app.dicom.parsing import PARSER_ERRORS
from app.dicom.planes import positions_of
from app.dicom.seg_record import add_record
from app.dicom.seg_sources import plane_text, source_images
from app.dicom.values import check_uid
from app.errors import BadInput, GeometryMismatch

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

SegKind = Literal["auto", "binary", "labelmap"]

MAX_BINARY_SEGMENTS = 10
"""Up to here `auto` writes BINARY, which every viewer reads; above, LABELMAP, ten times smaller and faster."""


@dataclass(frozen=True)
class SegOptions:
    """Attributes of a segmentation.

    The caller provides UIDs: a label version keeps its UID, and new content gets a new one. `kind` `auto` is BINARY for
    up to `MAX_BINARY_SEGMENTS` segments and for overlapping ones, else LABELMAP with RLE. `author` is the
    ContentCreatorName. `modified_from` is the SOPInstanceUID of the predecessor in the same series. `server_id`
    identifies this server (DeviceSerialNumber). `record` is what segloop notes about a label version (`seg_record`);
    nothing if it is empty.
    """

    sop_instance_uid: str
    series_uid: str
    kind: SegKind = "auto"
    series_number: int = 1000
    series_description: str = "Segmentation"
    instance_number: int = 1
    content_label: str = "SEGMENTATION"
    content_description: str = ""
    author: str = ""
    created: datetime | None = None
    modified_from: str = ""
    server_id: str = "0"
    software_version: str = "0"
    record: Mapping[str, Any] = field(default_factory=dict)


def write_seg(mask: Mask, headers: Sequence[Dataset], file: Path | BinaryIO, options: SegOptions) -> None:
    """Write `mask`, on the grid of the series that `headers` belong to, as a DICOM SEG.

    Empty segments are described and have no frames. Frame positions follow the mask's geometry, also for sheared and
    interpolated slices.

    Raises `BadInput` (overlapping segments as a labelmap; a series that can't be referenced; no segments) and
    `GeometryMismatch` (other rows or columns than the series); nothing is written then.
    """
    if not mask.segments:
        raise BadInput("a label without segments can't be stored")
    first = headers[0] if headers else Dataset()
    if (first.get("Rows"), first.get("Columns")) != mask.geometry.shape[1:]:
        raise GeometryMismatch(
            f"the mask has slices of {mask.geometry.shape[1:]} rows and columns, the series of"
            f" {(first.get('Rows'), first.get('Columns'))}"
        )
    check_uid(options.sop_instance_uid)
    check_uid(options.series_uid)
    try:
        segmentation = _segmentation(mask, headers, options)
    except PARSER_ERRORS as error:
        # Only the type of error: highdicom's messages may quote the headers, such as a patient's name.
        raise BadInput(f"no DICOM segmentation can be made for this series ({type(error).__name__})") from error
    segmentation.save_as(file, enforce_file_format=True)


def _kind(mask: Mask, asked: SegKind) -> Literal["BINARY", "LABELMAP"]:
    if mask.overlapping:
        if asked == "labelmap":
            raise BadInput("the segments overlap, which a LABELMAP segmentation can't hold; store it as BINARY")
        return "BINARY"
    if asked == "auto":
        return "BINARY" if len(mask.segments) <= MAX_BINARY_SEGMENTS else "LABELMAP"
    return "BINARY" if asked == "binary" else "LABELMAP"


def _segmentation(mask: Mask, headers: Sequence[Dataset], options: SegOptions) -> Segmentation:
    from highdicom import PlanePositionSequence
    from highdicom.seg import Segmentation

    kind = _kind(mask, options.kind)
    sources = source_images(headers, mask.geometry)
    multiframe = "PerFrameFunctionalGroupsSequence" in headers[0]
    used = _used_slices(mask)
    if multiframe or not used or not _one_per_slice(headers, mask.geometry):
        used = used or [0]  # a DICOM image has at least one frame: an empty mask has an empty one for each segment
        slices: list[int] | slice = used
        places = (plane_text(mask.geometry.to_patient((k, 0, 0))) for k in used)
        positions = [PlanePositionSequence("PATIENT", place) for place in places]
    else:
        # With one image per slice, highdicom takes positions from the images, which is faster than matching them.
        slices, positions = slice(None), None
    segmentation = Segmentation(
        # highdicom accepts one multi-frame image as the source; the others of the series are further sources.
        source_images=sources[:1] if multiframe else sources,
        further_source_images=(sources[1:] or None) if multiframe else None,
        pixel_array=_pixels(mask, slices),
        segmentation_type=kind,
        segment_descriptions=[_description(segment, options) for segment in mask.segments],
        series_instance_uid=options.series_uid,
        series_number=options.series_number,
        series_description=_long(options.series_description),
        sop_instance_uid=options.sop_instance_uid,
        instance_number=options.instance_number,
        manufacturer="segloop",
        manufacturer_model_name="segloop",
        software_versions=options.software_version,
        device_serial_number=options.server_id,
        content_label=_code_string(options.content_label) or "SEGMENTATION",
        content_description=_long(options.content_description) or None,
        transfer_syntax_uid=RLELossless if kind == "LABELMAP" else ExplicitVRLittleEndian,
        plane_positions=positions,
        omit_empty_frames=True,
        specific_character_set="ISO_IR 192",
    )
    _complete(segmentation, mask, options)
    return segmentation


def _one_per_slice(headers: Sequence[Dataset], geometry: Geometry) -> bool:
    """Whether header k lies at slice k, for all slices."""
    if len(headers) != geometry.shape[0]:
        return False
    positions = np.array([positions_of(header)[0] for header in headers])
    expected = geometry.affine[:3, 3] + np.arange(len(headers))[:, None] * geometry.affine[:3, 2]
    off = np.linalg.norm(positions - expected, axis=1)
    return bool(off.max() < SPACING_TOLERANCE * 2 * geometry.spacing[2])


def _used_slices(mask: Mask) -> list[int]:
    """Slices with any segment."""
    used = np.zeros(mask.geometry.shape[0], bool)
    for layer in mask.layers:
        used |= layer.any(axis=(1, 2))
    return [int(k) for k in np.flatnonzero(used)]


def _pixels(mask: Mask, slices: list[int] | slice) -> NDArray[np.generic]:
    """The input of highdicom: a labelmap `(slices, rows, columns)`; for overlapping segments 0/1 with one more axis."""
    dtype = np.uint8 if len(mask.segments) < 256 else np.uint16
    if not mask.overlapping:
        return mask.layers[0][slices].astype(dtype, copy=False)
    chosen = [layer[slices] for layer in mask.layers]
    stacked = np.empty((*chosen[0].shape, len(mask.segments)), bool)
    for segment in mask.segments:
        np.equal(chosen[segment.layer], segment.number, out=stacked[..., segment.number - 1])
    return stacked


def _description(segment: Segment, options: SegOptions) -> SegmentDescription:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    def concept(code: Code) -> CodedConcept:
        return CodedConcept(code.value, code.scheme, code.meaning[:64])

    category, kind = codes_of(segment)
    algorithm = None
    if segment.algorithm != "MANUAL":
        algorithm = AlgorithmIdentificationSequence(
            name=_long(segment.algorithm_name) or "segloop",
            family=codes.DCM.ArtificialIntelligence,
            version=_long(options.software_version),
        )
    name = segment.name.replace("\\", "/").strip() or f"Segment {segment.number}"
    description = SegmentDescription(
        segment_number=segment.number,
        segment_label=name[:64],
        segmented_property_category=concept(category),
        segmented_property_type=concept(kind),
        algorithm_type=segment.algorithm,
        algorithm_identification=algorithm,
        tracking_uid=segment.tracking_uid or None,
        tracking_id=name[:64] if segment.tracking_uid else None,
        display_color=CIELabColor.from_rgb(*segment.color) if segment.color else None,
    )
    if len(name) > 64:
        description.SegmentDescription = name[:1024]
    return description


def _complete(segmentation: Segmentation, mask: Mask, options: SegOptions) -> None:
    """Set attributes that the constructor has no arguments for."""
    from highdicom.sr import CodedConcept

    segmentation.ContentCreatorName = _long(options.author).replace("=", "-")
    if options.record:
        add_record(segmentation, options.record)
    if mask.overlapping:
        segmentation.SegmentsOverlap = "YES"
    if options.created is not None:
        segmentation.ContentDate = segmentation.InstanceCreationDate = options.created.strftime("%Y%m%d")
        segmentation.ContentTime = segmentation.InstanceCreationTime = options.created.strftime("%H%M%S.%f")
        if options.created.tzinfo is not None:
            segmentation.TimezoneOffsetFromUTC = options.created.strftime("%z")
    if options.modified_from:
        predecessor = Dataset()
        predecessor.ReferencedSOPClassUID = segmentation.SOPClassUID
        predecessor.ReferencedSOPInstanceUID = check_uid(options.modified_from)
        predecessor.PurposeOfReferenceCodeSequence = [CodedConcept("121348", "DCM", "Temporal Predecessor")]
        segmentation.ReferencedInstanceSequence = [predecessor]


def _code_string(text: str) -> str:
    """A code string (CS): 16 capitals, digits, spaces and underscores; it begins with a letter."""
    return re.sub(r"[^A-Z0-9 _]", "_", text.upper()).lstrip("0123456789_ ")[:16].strip()


def _long(text: str) -> str:
    """A long string (LO): one line, 64 characters, no backslash."""
    return "".join(c if c.isprintable() else " " for c in text).replace("\\", "/").strip()[:64]
