"""A folder as a DICOMweb service: its DICOM files (`files`), and its volume files as series (`volumes`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from app.archives.dicom_json import tag_of
from app.core.archive import DicomFiles
from app.core.case import Case
from app.core.volume import Volume
from app.dicom.rendering import Rendering
from app.errors import NotFound
from app.services.dicomweb.files import FileInstance, FileInstances, FileSlice, Metadata, digest
from app.services.dicomweb.query import Level, Query
from app.services.dicomweb.volumes import SliceInstance, SliceInstances, middle

Instance = FileInstance | SliceInstance


class FolderDicomweb:
    """Serves what an archive has on this machine. Thread-safe.

    `read` gives the voxels of a volume file. Every method raises `NotFound` for a missing resource, and `BadFile` for a
    damaged file.
    """

    def __init__(self, client: DicomFiles, read: Callable[[Case], Volume]) -> None:
        self.client = client
        self._files = FileInstances(client)
        self._slices = SliceInstances(client, read)

    def instances(self, study: str, series: str = "", sop: str = "") -> list[Instance]:
        """The instances of a study or series, or a single one: slices of volumes, then files by their UIDs."""
        slices = self._slices.instances(study, series, sop)
        if slices and series:
            return [*slices]
        try:
            return [*slices, *self._files.instances(study, series, sop)]
        except NotFound:
            if slices:
                return [*slices]
            raise

    def instance(self, study: str, series: str, sop: str) -> Instance:
        """One instance. Of a file it is cached while the file is unchanged: a viewer requests hundreds of frames at
        once."""
        if sop.startswith(f"{series}."):
            slices = self._slices.instances(study, series, sop)
            if slices:
                return slices[0]
        return self._files.instance(study, series, sop)

    def search(self, level: Level, study: str, series: str, query: Query) -> list[dict[str, Any]]:
        """The matches of a query in DICOM JSON, within one study or series ("" for all). Raises `BadOption`."""
        options: dict[str, Any] = {
            "fuzzymatching": query.fuzzy,
            "limit": query.limit,
            "offset": query.offset,
            "fields": query.fields,
            "search_filters": query.filters,
        }
        if level == "studies":
            return self.client.search_for_studies(**options)
        if level == "series":
            return self.client.search_for_series(study or None, **options)
        return self.client.search_for_instances(study or None, series or None, **options)

    def representative(self, study: str, series: str = "") -> Instance:
        """The instance that represents a study or series: the middle one by InstanceNumber, of a series with images if
        the study has one."""
        slices = self._slices.instances(study, series)
        if slices:
            return middle(slices)
        found = self._files.instances(study, series)
        headers = {one.file.sop: json.loads(one.file.header) for one in found}
        images = [one for one in found if tag_of("Rows") in headers[one.file.sop]] or found
        same = [one for one in images if one.series == images[0].series]
        same.sort(key=lambda one: _first_number(headers[one.file.sop].get(tag_of("InstanceNumber"))))
        return same[len(same) // 2]

    def metadata(self, instances: Sequence[Instance]) -> Metadata:
        """The headers of instances, grouped by series."""
        files: dict[str, list[FileInstance]] = {}
        slices: dict[str, list[SliceInstance]] = {}
        for one in instances:
            if isinstance(one, SliceInstance):
                slices.setdefault(one.series, []).append(one)
            else:
                files.setdefault(one.series, []).append(one)
        parts = [
            *(self._slices.metadata(ones) for ones in slices.values()),
            *(self._files.metadata(ones) for ones in files.values()),
        ]
        if len(parts) == 1:
            return parts[0]
        joined = b",".join(part.encoded[1:-1] for part in parts)
        return Metadata(digest("".join(part.stamp for part in parts)), b"[" + joined + b"]")

    def frame_count(self, instance: Instance) -> int:
        """The number of frames of an instance."""
        if isinstance(instance, SliceInstance):
            return self._slices.frame_count(instance)
        return self._files.frame_count(instance)

    def check_frames(self, instance: Instance, numbers: Sequence[int]) -> None:
        """Raise `BadInput` if a frame number (from 1) doesn't exist."""
        if isinstance(instance, SliceInstance):
            self._slices.check_frames(instance, numbers)
        else:
            self._files.check_frames(instance, numbers)

    def frame(self, instance: Instance, number: int, *, stored: bool) -> bytes:
        """A frame (from 1) as `stored`, or decoded to explicit little endian.

        Big endian pixels are always converted. Raises `BadInput` for a frame that doesn't exist, and `UnusableSeries`
        without pixels or a decoder.
        """
        if isinstance(instance, SliceInstance):
            return self._slices.frame(instance, number, stored=stored)
        return self._files.frame(instance, number, stored=stored)

    def file_slice(self, instance: Instance, number: int, *, stored: bool) -> FileSlice | None:
        """The part of a file that `frame` returns; None if the frame has to be assembled or decoded.

        Raises `BadInput` for a frame that doesn't exist, and `Conflict` if the file was replaced meanwhile.
        """
        if isinstance(instance, SliceInstance):
            return None
        return self._files.file_slice(instance, number, stored=stored)

    def part10(self, instance: Instance, *, stored: bool) -> bytes:
        """The whole instance as a Part 10 file, as `stored` or in explicit little endian. Raises `UnusableSeries`
        without a decoder."""
        if isinstance(instance, SliceInstance):
            return self._slices.part10(instance, stored=stored)
        return self._files.part10(instance, stored=stored)

    def bulk(self, instance: Instance, path: str) -> bytes:
        """A binary value of the header, by its path in the metadata."""
        if isinstance(instance, SliceInstance):
            return self._slices.bulk(instance, path)
        return self._files.bulk(instance, path)

    def pixels_are(self, instance: Instance, path: str) -> bool:
        """Whether a path in the metadata is that of the pixels."""
        if isinstance(instance, SliceInstance):
            return self._slices.pixels_are(instance, path)
        return self._files.pixels_are(instance, path)

    def picture(self, instance: Instance, number: int, how: Rendering) -> bytes:
        """A frame (from 1) rendered as an image file. Raises as `frame`, and `BadOption` for a viewport outside it."""
        if isinstance(instance, SliceInstance):
            return self._slices.picture(instance, number, how)
        return self._files.picture(instance, number, how)


def _first_number(element: object) -> int:
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values and isinstance(values[0], int) else 0
