"""One 2D image of a series with its place: what single-frame instances and multi-frame frames have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from app.errors import UnusableSeries

MARKS = (
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
"""What tells interleaved volumes of one series apart, in the order in which it is tried."""


@dataclass(frozen=True, eq=False)
class Plane:
    """One 2D image and where it lies.

    `source` counts the instances of the series in the order of their arrival, `frame` the frames within the instance.
    `position` is ImagePositionPatient and `orientation` the six cosines of ImageOrientationPatient (LPS mm; DICOM
    PS3.3 C.7.6.2). `pixel_spacing` is mm between rows, then between columns. `step` is what the header says about the
    distance between slices, None if nothing. `stored` are the stored values `(rows, columns)`, `slope` and
    `intercept` their rescale. `marks` are those of `MARKS` that the header has, as text. `warnings` are about what
    the header lacks.
    """

    source: int
    frame: int
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    pixel_spacing: tuple[float, float]
    step: float | None
    stored: NDArray[np.integer]
    slope: float
    intercept: float
    marks: dict[str, str]
    warnings: tuple[str, ...] = ()

    @property
    def normal(self) -> NDArray[np.float64]:
        """The unit vector row x column."""
        cross = np.cross(self.orientation[:3], self.orientation[3:])
        return np.asarray(cross / np.linalg.norm(cross))


def planes_of(dataset: Dataset, stored: NDArray[np.integer], source: int) -> Iterator[Plane]:
    """The planes of an instance whose decoded frames are `stored` `(frames, rows, columns)`.

    Enhanced multi-frame objects keep what belongs to a plane in functional groups, shared or per frame (DICOM PS3.3
    C.7.6.16); single-frame ones at the top. Raises `UnusableSeries`.
    """
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(stored) > 1 and len(per_frame) != len(stored):
        raise UnusableSeries(
            f"a multi-frame image has {len(stored)} frames and says where {len(per_frame)} of them lie;"
            " it can't be placed in the patient"
        )
    for frame, values in enumerate(stored):
        places = [dataset]
        if shared is not None:
            places.insert(0, shared)
        if per_frame:
            places.insert(0, per_frame[frame])
        yield _plane(places, values, source, frame)


def _plane(places: list[Dataset], stored: NDArray[np.integer], source: int, frame: int) -> Plane:
    position = _numbers(_find(places, "PlanePositionSequence", "ImagePositionPatient"), 3)
    orientation = _numbers(_find(places, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    if position is None or orientation is None:
        missing = "ImagePositionPatient" if position is None else "ImageOrientationPatient"
        raise UnusableSeries(
            f"an image has no usable {missing}: it doesn't say where in the patient it lies; export the series again"
            " from the scanner or as a volume file"
        )
    row, column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.allclose(lengths, 1, atol=1e-2) or abs(row @ column) > 1e-2:
        raise UnusableSeries("an image's ImageOrientationPatient isn't two perpendicular unit vectors")
    spacing, warnings = _pixel_spacing(places)
    if _find(places, "", "ModalityLUTSequence") is not None:
        raise UnusableSeries("the images have a modality lookup table; only rescale slope and intercept are supported")
    return Plane(
        source=source,
        frame=frame,
        position=position,
        orientation=np.concatenate([row / lengths[0], column / lengths[1]]),
        pixel_spacing=spacing,
        step=_step(places),
        stored=stored,
        slope=_rescale(places, "RescaleSlope", 1.0),
        intercept=_rescale(places, "RescaleIntercept", 0.0),
        marks=_marks(places),
        warnings=warnings,
    )


def _pixel_spacing(places: list[Dataset]) -> tuple[tuple[float, float], tuple[str, ...]]:
    spacing = _numbers(_find(places, "PixelMeasuresSequence", "PixelSpacing"), 2)
    warnings: tuple[str, ...] = ()
    if spacing is None:
        spacing = _numbers(_find(places, "", "ImagerPixelSpacing"), 2)
        warnings = ("PixelSpacing is missing; ImagerPixelSpacing was used, which doesn't correct for magnification",)
    if spacing is None or min(spacing) <= 0:
        raise UnusableSeries("an image has no usable PixelSpacing: the size of its pixels is unknown")
    return (float(spacing[0]), float(spacing[1])), warnings


def _step(places: list[Dataset]) -> float | None:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = _numbers(_find(places, "PixelMeasuresSequence", keyword), 1)
        if value is not None and abs(value[0]) > 0:
            return abs(float(value[0]))
    return None


def _rescale(places: list[Dataset], keyword: str, default: float) -> float:
    value = _find(places, "PixelValueTransformationSequence", keyword)
    if value is None or value == "":
        return default
    number = _numbers(value, 1)
    if number is None or (keyword == "RescaleSlope" and number[0] == 0):
        raise UnusableSeries(f"an image's {keyword} is no usable number")
    return float(number[0])


def _marks(places: list[Dataset]) -> dict[str, str]:
    marks = {}
    for keyword in MARKS:
        value = _find(places, _GROUP_OF.get(keyword, ""), keyword)
        if value is not None:
            marks[keyword] = str(value)
    return marks


_GROUP_OF = {
    "EffectiveEchoTime": "MREchoSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "FrameAcquisitionNumber": "FrameContentSequence",
    "FrameReferenceDateTime": "FrameContentSequence",
    "StackID": "FrameContentSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "FrameType": "MRImageFrameTypeSequence",
}


def _find(places: list[Dataset], group: str, keyword: str) -> object:
    """The value of `keyword` in the first of `places` that has it, directly or in its functional group `group`."""
    for place in places:
        item = _first(place, group) if group else None
        for holder in (item, place):
            if holder is not None and keyword in holder:
                value: object = holder[keyword].value
                return value
    return None


def _first(dataset: Dataset, keyword: str) -> Dataset | None:
    items = dataset.get(keyword)
    return items[0] if items else None


def _numbers(value: object, count: int) -> NDArray[np.float64] | None:
    """`value` as `count` finite numbers, None if it isn't."""
    if value is None:
        return None
    try:
        numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        return None
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None
