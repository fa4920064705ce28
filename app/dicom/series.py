"""A DICOM series -> a Volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.tag import Tag

from app.core.case import Case
from app.core.volume import Volume
from app.dicom.decoding import decode
from app.dicom.ordering import Stack, missing_text, stack
from app.dicom.parsing import PARSER_ERRORS, PIXEL_KEYWORDS, parse
from app.dicom.planes import Plane, planes_of
from app.dicom.values import check_uid, text
from app.errors import BadFile, BadInput, UnusableSeries
from app.formats.volume_header import DEFAULT_MAX_BYTES

_SERIES = Tag("SeriesInstanceUID")


@dataclass(frozen=True, eq=False)
class Assembled:
    """A series as a volume. `headers` have no pixel data and are in slice order; a multi-frame series has one."""

    volume: Volume
    headers: tuple[Dataset, ...]


def assemble(instances: Sequence[Dataset], *, fill_gaps: bool = False, max_bytes: int = DEFAULT_MAX_BYTES) -> Assembled:
    """`SeriesBuilder` for a series whose instances are all in memory. The datasets aren't modified."""
    builder = SeriesBuilder(fill_gaps=fill_gaps, max_bytes=max_bytes)
    for instance in instances:
        builder.add(instance)
    return builder.build()


class SeriesBuilder:
    """Takes the instances of one series as they arrive, in any order, and makes a volume of them.

    `add` decodes each instance, so decoding overlaps with receiving. With `fill_gaps`, missing slices are interpolated
    (and listed in a warning) instead of refused. `max_bytes` limits the decoded size of the series. Not thread-safe.
    """

    def __init__(self, *, fill_gaps: bool = False, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._fill_gaps = fill_gaps
        self._bytes_left = max_bytes
        self._headers: list[Dataset] = []
        self._planes: list[Plane] = []

    def add(self, instance: bytes | Dataset, *, owned: bool = False) -> None:
        """Add one instance, a Part 10 file or a dataset. An `owned` dataset may be modified: its pixel data is removed.

        Raises `BadFile`, `UnusableSeries`.
        """
        dataset = parse(instance) if isinstance(instance, bytes) else instance
        try:
            if self._headers and text(dataset, _SERIES) != text(self._headers[0], _SERIES):
                raise UnusableSeries("the images belong to more than one series")
            pixels = decode(dataset, self._bytes_left)
            self._planes.extend(planes_of(dataset, pixels, source=len(self._headers)))
            self._headers.append(_without_pixels(dataset, owned=owned or isinstance(instance, bytes)))
        except PARSER_ERRORS as error:
            raise BadFile(f"an image's header can't be read ({type(error).__name__})") from error
        self._bytes_left -= pixels.stored.nbytes

    def build(self) -> Assembled:
        """The volume of all instances added. Raises `UnusableSeries`; every repair is a warning on the volume."""
        ordered = stack(self._planes)
        warnings = list(ordered.warnings)
        if ordered.missing:
            listed = f"{len(ordered.missing)} slices are missing ({missing_text(ordered.missing)})"
            if not self._fill_gaps:
                raise UnusableSeries(
                    f"{listed}; send the whole series again, or let missing slices be interpolated in the settings"
                )
            warnings.append(f"{listed}; they were interpolated between their neighbours")
        sources = dict.fromkeys(plane.source for plane in ordered.planes)
        headers = tuple(self._headers[source] for source in sources)
        modality = str(headers[0].get("Modality", ""))
        volume = Volume(_voxels(ordered), ordered.geometry, modality, tuple(warnings))
        return Assembled(volume, headers)


def _without_pixels(dataset: Dataset, *, owned: bool) -> Dataset:
    if owned:
        for keyword in PIXEL_KEYWORDS:
            if keyword in dataset:
                del dataset[keyword]
        return dataset
    header = dataset[:0x7FE00000]
    header.file_meta = dataset.file_meta
    return header


def _voxels(ordered: Stack) -> NDArray[np.generic]:
    voxels = np.empty(ordered.geometry.shape, voxel_type(ordered.planes))
    for plane, index in zip(ordered.planes, ordered.indices, strict=True):
        rescale_into(plane, voxels[index])
    present = np.array(ordered.indices)
    for index in ordered.missing:
        before = int(present[present < index].max())
        after = int(present[present > index].min())
        weight = (index - before) / (after - before)
        between = (1 - weight) * voxels[before].astype(np.float64) + weight * voxels[after].astype(np.float64)
        voxels[index] = between if voxels.dtype.kind == "f" else np.rint(between)
    return voxels


def voxel_type(planes: Sequence[Plane]) -> np.dtype[np.generic]:
    """int16 if every rescaled value is exact and fits, else int32, else float32 (fractional slopes, as in PET)."""
    factors = {float(factor) for plane in planes for factor in (plane.slope, plane.intercept)}
    if not all(factor.is_integer() and abs(factor) < 2**31 for factor in factors):
        return np.dtype(np.float32)
    low, high = zip(*(_range(plane) for plane in planes), strict=True)
    for candidate in (np.int16, np.int32):
        if np.iinfo(candidate).min <= min(low) and max(high) <= np.iinfo(candidate).max:
            return np.dtype(candidate)
    return np.dtype(np.float32)


def rescale_into(plane: Plane, out: NDArray[np.generic]) -> None:
    """Stored values to modality values (DICOM PS3.3 C.11.1): write `stored * slope + intercept` into `out`
    `(rows, columns)`, whose type `voxel_type` chose."""
    if out.dtype.kind == "f":
        # In float64 first: a product rounded to float32 and then shifted would be rounded twice.
        np.copyto(out, plane.stored.astype(np.float64) * plane.slope + plane.intercept, casting="unsafe")
        return
    # Overflow in between is harmless: integer arithmetic is modulo 2^n, and the result is known to fit.
    slope, intercept = np.array([plane.slope, plane.intercept]).astype(np.int64).astype(out.dtype)
    if plane.stored.dtype.itemsize == out.dtype.itemsize and slope == 1:
        np.add(plane.stored.view(out.dtype), intercept, out=out)
        return
    np.copyto(out, plane.stored, casting="unsafe")
    np.multiply(out, slope, out=out)
    np.add(out, intercept, out=out)


def _range(plane: Plane) -> tuple[int, int]:
    slope, intercept = int(plane.slope), int(plane.intercept)
    ends = plane.limits[0] * slope + intercept, plane.limits[1] * slope + intercept
    return min(ends), max(ends)


_MAX_TEXT = 256


def case_of(headers: Sequence[Dataset], stamp: str, *, location: str = "", warnings: tuple[str, ...] = ()) -> Case:
    """The case of a series. `headers` are in any order and need no pixel data; `stamp` is the archive's (see `Case`).

    Raises `BadInput` without headers and for invalid UIDs (`check_uid`).
    """
    if not headers:
        raise BadInput("a series without instances is not a case")
    first = headers[0]
    series_uid = check_uid(_text(first, "SeriesInstanceUID"))
    return Case(
        id=series_uid,
        kind="series",
        stamp=stamp,
        location=location,
        patient_id=_text(first, "PatientID"),
        study_uid=check_uid(_text(first, "StudyInstanceUID")),
        series_uid=series_uid,
        modality=_text(first, "Modality"),
        description=_text(first, "SeriesDescription"),
        body_part=_text(first, "BodyPartExamined"),
        manufacturer=_text(first, "Manufacturer"),
        study_date=_text(first, "StudyDate"),
        study_time=_text(first, "StudyTime"),
        frame_of_reference_uid=_text(first, "FrameOfReferenceUID"),
        instances=len(headers),
        warnings=warnings,
    )


def _text(header: Dataset, keyword: str) -> str:
    """The value as one line without control characters, at most 256 characters; "" if there is none."""
    value = header.get(keyword)
    if value is None:
        return ""
    return "".join(c for c in str(value) if c.isprintable()).strip()[:_MAX_TEXT]
