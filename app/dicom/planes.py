"""One 2D image of a series and its position: a single-frame instance, or a frame of a multi-frame instance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.tag import BaseTag, Tag

from app.core.volume import Geometry, SourceSlice
from app.dicom.decoding import Pixels
from app.dicom.values import integer, numbers, text
from app.errors import UnusableSeries

SPLIT_KEYWORDS = (
    "EchoTime",
    "EffectiveEchoTime",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "AcquisitionNumber",
    "FrameAcquisitionNumber",
    "TriggerTime",
    "DiffusionBValue",
    "ImageType",
    "FrameType",
    "StackID",
    "AcquisitionTime",
    "FrameReferenceDateTime",
    "SOPInstanceUID",
)
"""Attributes that separate interleaved volumes of one series, in the order in which they are tried."""

SAME_ORIENTATION = 1e-3
"""The largest difference of a direction cosine between images of one volume."""

# Which functional group of a multi-frame object holds an attribute (DICOM PS3.3 C.7.6.16.2).
_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "FrameAcquisitionNumber": "FrameContentSequence",
    "FrameReferenceDateTime": "FrameContentSequence",
    "StackID": "FrameContentSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "FrameType": "MRImageFrameTypeSequence",
}
_TAGS: dict[str, BaseTag] = {keyword: Tag(keyword) for keyword in (*_GROUPS, *SPLIT_KEYWORDS, "ImagerPixelSpacing")}
_GROUP_TAGS: dict[str, BaseTag] = {keyword: Tag(group) for keyword, group in _GROUPS.items()}
_SHARED = Tag("SharedFunctionalGroupsSequence")
_PER_FRAME = Tag("PerFrameFunctionalGroupsSequence")
_LOOKUP_TABLE = Tag("ModalityLUTSequence")


@dataclass(frozen=True, eq=False)
class Plane:
    """One 2D image and its position.

    `source` counts the instances of the series in their order of arrival, `frame` the frames within the instance.
    `position` is ImagePositionPatient and `orientation` the six cosines of ImageOrientationPatient (LPS mm; DICOM
    PS3.3 C.7.6.2). `pixel_spacing` is mm between rows, then between columns. `step` is the header's distance between
    slices in mm, None without one. `stored` are the stored values `(rows, columns)`, all within `limits`; `slope` and
    `intercept` are their rescale. `headers` are where other attributes are searched, the most specific first.
    `warnings` are about missing attributes.
    """

    source: int
    frame: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, float]
    step: float | None
    stored: NDArray[np.integer]
    limits: tuple[int, int]
    slope: float
    intercept: float
    headers: tuple[Dataset, ...]
    warnings: tuple[str, ...] = ()

    @property
    def normal(self) -> NDArray[np.float64]:
        """The unit vector row x column."""
        cross = np.cross(self.orientation[:3], self.orientation[3:])
        return np.asarray(cross / np.linalg.norm(cross))

    def mark(self, keyword: str) -> str:
        """One of `SPLIT_KEYWORDS` as text, "" without a value."""
        return next(
            (found for holder in _candidates(self.headers, keyword) if (found := text(holder, _TAGS[keyword]))), ""
        )


def planes_of(dataset: Dataset, pixels: Pixels, source: int) -> Iterator[Plane]:
    """The planes of an instance.

    Enhanced multi-frame objects have a plane's attributes in functional groups, shared or per frame (DICOM PS3.3
    C.7.6.16); single-frame ones at the top level. Raises `UnusableSeries`.
    """
    per_frame = items_of(dataset, _PER_FRAME)
    count = len(pixels.stored)
    if count > 1 and len(per_frame) != count:
        raise UnusableSeries(
            f"a multi-frame image has {count} frames and says where {len(per_frame)} of them lie;"
            " it can't be placed in the patient"
        )
    common = (*items_of(dataset, _SHARED)[:1], dataset)
    for frame, stored in enumerate(pixels.stored):
        headers = (per_frame[frame], *common) if per_frame else common
        yield _plane(headers, stored, pixels.limits, source, frame)


def _plane(
    headers: tuple[Dataset, ...], stored: NDArray[np.integer], limits: tuple[int, int], source: int, frame: int
) -> Plane:
    if any(_LOOKUP_TABLE in header for header in headers):
        raise UnusableSeries("the images have a modality lookup table; only rescale slope and intercept are supported")
    spacing, warnings = pixel_spacing_of(headers)
    return Plane(
        source=source,
        frame=frame,
        position=position_of(headers),
        orientation=orientation_of(headers),
        pixel_spacing=spacing,
        step=_step(headers),
        stored=stored,
        limits=limits,
        slope=_rescale(headers, "RescaleSlope", 1.0),
        intercept=_rescale(headers, "RescaleIntercept", 0.0),
        headers=headers,
        warnings=warnings,
    )


def position_of(headers: Sequence[Dataset]) -> tuple[float, ...]:
    position = _header_numbers(headers, "ImagePositionPatient", 3)
    if not position:
        raise UnusableSeries(_NO_POSITION.format("ImagePositionPatient"))
    return position


def orientation_of(headers: Sequence[Dataset]) -> tuple[float, ...]:
    """The direction cosines, row and column scaled to unit length."""
    cosines = _header_numbers(headers, "ImageOrientationPatient", 6)
    if not cosines:
        raise UnusableSeries(_NO_POSITION.format("ImageOrientationPatient"))
    row, column = cosines[:3], cosines[3:]
    row_length, column_length = math.hypot(*row), math.hypot(*column)
    dot = sum(a * b for a, b in zip(row, column, strict=True))
    if abs(row_length - 1) > 1e-2 or abs(column_length - 1) > 1e-2 or abs(dot) > 1e-2:
        raise UnusableSeries("an image's ImageOrientationPatient isn't two perpendicular unit vectors")
    return (*(v / row_length for v in row), *(v / column_length for v in column))


_NO_POSITION = (
    "an image has no usable {}: it doesn't say where in the patient it lies; export the series again from the scanner,"
    " or as a volume file"
)


def pixel_spacing_of(headers: Sequence[Dataset]) -> tuple[tuple[float, float], tuple[str, ...]]:
    spacing = _header_numbers(headers, "PixelSpacing", 2)
    warnings: tuple[str, ...] = ()
    if not spacing:
        spacing = _header_numbers(headers, "ImagerPixelSpacing", 2)
        warnings = ("PixelSpacing is missing; ImagerPixelSpacing was used, which doesn't correct for magnification",)
    if not spacing or min(spacing) <= 0:
        raise UnusableSeries("an image has no usable PixelSpacing: the size of its pixels is unknown")
    return (spacing[0], spacing[1]), warnings


def _step(headers: Sequence[Dataset]) -> float | None:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = _header_numbers(headers, keyword, 1)
        if value and value[0] != 0:
            return abs(value[0])
    return None


def _rescale(headers: Sequence[Dataset], keyword: str, default: float) -> float:
    value = _header_numbers(headers, keyword, 1)
    if value is None:
        return default
    if not value or (keyword == "RescaleSlope" and value[0] == 0):
        raise UnusableSeries(f"an image's {keyword} is not a valid number")
    return value[0]


def _header_numbers(headers: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...] | None:
    """The numbers of the first header that has them; None if none has, `()` if they aren't `count` finite numbers."""
    for holder in _candidates(headers, keyword):
        found = numbers(holder, _TAGS[keyword])
        if found is not None:
            return found if len(found) == count else ()
    return None


def _candidates(headers: Sequence[Dataset], keyword: str) -> Iterator[Dataset]:
    """Where an attribute may be: in its functional group, or at the top level of each header."""
    for header in headers:
        if len(headers) > 1 and keyword in _GROUP_TAGS:
            yield from items_of(header, _GROUP_TAGS[keyword])[:1]
        yield header


def items_of(dataset: Dataset, tag: BaseTag) -> Sequence[Dataset]:
    return dataset[tag].value or () if tag in dataset else ()


@dataclass(frozen=True)
class ImageGrid:
    """The pixel grid of an image, without its place: `spacing` in mm between rows and columns, six `orientation`
    cosines."""

    rows: int
    columns: int
    spacing: tuple[float, float]
    orientation: tuple[float, ...]

    def difference(self, other: ImageGrid) -> str:
        """What differs beyond rounding, as text; "" if nothing does."""
        if (self.rows, self.columns) != (other.rows, other.columns):
            return f"it has {self.rows} x {self.columns} pixels instead of {other.rows} x {other.columns}"
        if any(abs(a - b) > 1e-3 * b for a, b in zip(self.spacing, other.spacing, strict=True)):
            return f"its PixelSpacing is {_listed(self.spacing)} instead of {_listed(other.spacing)}"
        if any(abs(a - b) > SAME_ORIENTATION for a, b in zip(self.orientation, other.orientation, strict=True)):
            return f"its orientation is {_listed(self.orientation)} instead of {_listed(other.orientation)}"
        return ""


def grid_of(header: Dataset) -> ImageGrid:
    """The grid of an instance's first frame. Raises `UnusableSeries`, `ValueError`."""
    headers = (*items_of(header, _PER_FRAME)[:1], *items_of(header, _SHARED)[:1], header)
    spacing, _ = pixel_spacing_of(headers)
    return ImageGrid(integer(header, Tag("Rows")), integer(header, Tag("Columns")), spacing, orientation_of(headers))


def _listed(values: Sequence[float]) -> str:
    return "\\".join(f"{value:.6g}" for value in values)


def positions_of(header: Dataset) -> list[tuple[float, ...]]:
    """ImagePositionPatient of each frame of an instance, in the order of its frames. Raises `UnusableSeries`."""
    common = (*items_of(header, _SHARED)[:1], header)
    return [position_of((frame, *common)) for frame in items_of(header, _PER_FRAME)] or [position_of(common)]


def source_slices(headers: Sequence[Dataset], geometry: Geometry) -> list[SourceSlice]:
    """One entry per slice, k ascending; for multi-frame instances one per instance; none without headers.

    `headers` are those of a series in slice order. They are matched to slices by ImagePositionPatient, because missing
    slices have no header.
    """
    if any("PerFrameFunctionalGroupsSequence" in header for header in headers):
        return [SourceSlice(str(header.SOPInstanceUID), _place(header), frames=True) for header in headers]
    if not headers:
        return []
    step = geometry.affine[:3, 2]
    normal = np.cross(geometry.affine[:3, 0], geometry.affine[:3, 1])
    uids = {}
    for header in headers:
        offset = np.subtract(_place(header), geometry.origin)
        uids[round(float(offset @ normal / (step @ normal)))] = str(header.SOPInstanceUID)
    return [SourceSlice(uids.get(k, ""), geometry.to_patient((k, 0, 0))) for k in range(geometry.shape[0])]


def _place(header: Dataset) -> tuple[float, float, float]:
    x, y, z = positions_of(header)[0]
    return x, y, z
