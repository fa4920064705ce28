"""Storing instances in the folder: what is damaged, contradicts its series, or would change a finished case is refused.

Labels lie on the voxels of a case, so a case with labels keeps its images. While a series is being received, its
slices come in any order and with gaps; it counts as finished `settle_seconds` after its last instance was stored.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.archives.dicom_json import tag_of
from app.archives.dicom_json import text as json_text
from app.archives.folder.durable import put
from app.archives.folder.examine import read_instance_header
from app.archives.folder.index import FolderIndex, Row
from app.archives.folder.options import IMAGE_MODALITIES, FolderOptions
from app.dicom.integrity import check_pixels
from app.dicom.parsing import PARSER_ERRORS, parse
from app.dicom.values import check_uid
from app.errors import BadInput, Conflict, GeometryMismatch, UnusableSeries

if TYPE_CHECKING:
    from pydicom import Dataset

    from app.dicom.planes import Plane

RECEIVED = "received"
"""The subfolder of instances that were stored."""

_SAME_IN_SERIES = ("StudyInstanceUID", "PatientID", "Modality", "FrameOfReferenceUID")


class Receiver:
    """Stores instances under `received/<series>/<instance>.dcm`. Thread-safe: one instance at a time."""

    def __init__(self, options: FolderOptions, index: FolderIndex) -> None:
        self._options = options
        self._index = index
        self._lock = threading.Lock()
        self._stored: dict[str, float] = {}
        """Series -> when its last instance was stored (monotonic)."""

    def store(self, dataset: Dataset, study: str | None, encoded: bytes | None, *, in_use: bool = False) -> None:
        """Store an instance, as `encoded` if that is given. Idempotent. `in_use`: its series has labels.

        Raises `BadInput` (not of the study), `BadFile` (damaged), `GeometryMismatch` (doesn't fit its series),
        `Conflict` (another object has its UID), `OSError`.
        """
        series = check_uid(str(dataset.get("SeriesInstanceUID", "")))
        sop = check_uid(str(dataset.get("SOPInstanceUID", "")))
        if check_uid(str(dataset.get("StudyInstanceUID", ""))) != (study or dataset.StudyInstanceUID):
            raise BadInput("the instance is of another study")
        has_pixels = check_pixels(dataset, self._options.max_bytes)
        with self._lock:
            known = self._index.instances(sop=sop)
            if known:
                held = (self._options.folder / known[0].path).read_bytes()
                if held != encoded and not _are_equal(parse(held), dataset):
                    raise Conflict(f"the folder holds another object as {sop}")
                return
            self._check_fits(dataset, series, has_pixels, in_use)
            if encoded is None:
                stream = io.BytesIO()
                dataset.save_as(stream, enforce_file_format=True)
                encoded = stream.getvalue()
            place = self._options.folder / RECEIVED / series / f"{sop}.dcm"
            put(encoded, place)
            self._index.add(place)
            self._stored[series] = time.monotonic()

    def _check_fits(self, dataset: Dataset, series: str, has_pixels: bool, in_use: bool) -> None:
        """Raise `GeometryMismatch` if the instance contradicts its series, or would change a finished one."""
        rows = self._index.instances(series=series)
        images = [row for row in rows if tag_of("Rows") in json.loads(row.header)]
        if not rows or (json_text(json.loads(rows[0].header), "Modality") not in IMAGE_MODALITIES and not in_use):
            return
        _check_same(dataset, json.loads(rows[0].header))
        if not images:
            return
        if not has_pixels:
            raise GeometryMismatch("the instance is no image, and its series has images")
        if in_use:
            raise GeometryMismatch("the series has labels, so no images are added to it; store this as a new series")
        try:
            self._check_grid(dataset, images)
            if not self._is_arriving(series):
                self._check_volume(dataset, images)
        except PARSER_ERRORS as error:
            raise GeometryMismatch(f"the image can't be compared with its series ({type(error).__name__})") from error

    def _is_arriving(self, series: str) -> bool:
        last = self._stored.get(series)
        return last is not None and time.monotonic() - last < self._options.settle_seconds

    def _check_grid(self, dataset: Dataset, images: Sequence[Row]) -> None:
        """Compare the image's pixel grid with its series'. Localisers may differ: a volume leaves them out."""
        from app.dicom.planes import grid_of

        sample = next((row for row in images if not _is_localiser(json.loads(row.header))), None)
        if sample is None or "LOCALIZER" in (dataset.get("ImageType") or ()):
            return
        try:
            wanted = grid_of(read_instance_header(self._options.folder / sample.path))
        except UnusableSeries:
            return  # the series is no volume, so there is no case to protect
        try:
            difference = grid_of(dataset).difference(wanted)
        except UnusableSeries as error:
            raise GeometryMismatch(str(error)) from error
        if difference:
            raise GeometryMismatch(f"the image doesn't fit its series: {difference}")

    def _check_volume(self, dataset: Dataset, images: Sequence[Row]) -> None:
        """Refuse an image with which a series that is a volume now wouldn't be one any more."""
        from app.dicom.ordering import stack

        planes: list[Plane] = []
        try:
            for row in images:
                planes += _planes(read_instance_header(self._options.folder / row.path), len(planes))
            missing = len(stack(planes).missing)
        except UnusableSeries:
            return
        try:
            after = len(stack([*planes, *_planes(dataset, len(planes))]).missing)
        except UnusableSeries as error:
            raise GeometryMismatch(f"with this image the series would be no volume any more: {error}") from error
        if after > missing:
            raise GeometryMismatch("the image lies beyond a gap of its series; store the slices between them first")


def _planes(header: Dataset, number: int) -> list[Plane]:
    """The planes of an instance without its pixels: each has a value of its own (from `number`) in their place, so
    that none counts as a copy of another."""
    import numpy as np

    from app.dicom.decoding import Pixels
    from app.dicom.planes import planes_of

    frames = int(header.get("NumberOfFrames") or 1)
    values = np.arange(number, number + frames).reshape(-1, 1, 1)
    stored = np.broadcast_to(values, (frames, int(header.Rows), int(header.Columns)))
    return list(planes_of(header, Pixels(stored, (number, number + frames)), source=number))


def _check_same(dataset: Dataset, header: dict[str, object]) -> None:
    for keyword in _SAME_IN_SERIES:
        said, known = str(dataset.get(keyword, "") or ""), json_text(header, keyword)
        if said != known and ((said and known) or keyword != "FrameOfReferenceUID"):
            raise GeometryMismatch(f"the instance's {keyword} isn't that of its series")


def _is_localiser(header: dict[str, object]) -> bool:
    element = header.get(tag_of("ImageType"))
    values = element.get("Value", ()) if isinstance(element, dict) else ()
    return "LOCALIZER" in values


def _are_equal(one: Dataset, other: Dataset) -> bool:
    try:
        return bool(one == other)
    except PARSER_ERRORS:
        return False  # a damaged value can't be compared
