"""Instances that are slices of a volume file: they are made when they are asked for.

Voxels come from the volume cache, mapped from the disk, so that a frame costs one read of its slice. What is kept in
memory is small, but for a volume that the cache has no room for.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID

from app.archives.dicom_json import tag_of
from app.core.archive import DicomFiles, VolumeFile
from app.core.case import Case
from app.core.volume import Volume
from app.dicom.rendering import Rendering, render
from app.dicom.volume_pixels import PixelScale, pixel_scale
from app.dicom.volume_series import SYNTAX, series_header, slice_attributes, slice_header, slice_of, sop_uid
from app.errors import BadInput, NotFound
from app.services.dicomweb.files import ByteCache, Metadata, digest

VOLUMES_KEPT = 2
SCALES_KEPT = 1000
JSON_BYTES = 64 << 20
VERSION = "1"
"""Of how voxels become pixels and headers: part of what caches of viewers compare."""
PIXELS = "7FE00010"


@dataclass(frozen=True)
class SliceInstance:
    """The instance of slice `k` (from 0). It has no file."""

    volume: VolumeFile
    k: int
    size: int | None = None
    path: Path | None = None
    syntax: str = SYNTAX
    is_native: bool = True

    @property
    def series(self) -> str:
        return self.volume.case.series_uid

    @property
    def stamp(self) -> str:
        return digest(f"{VERSION} {self.volume.case.id} {self.volume.case.stamp} {self.series} {self.k}")

    @property
    def address(self) -> str:
        """Relative to the root of the service."""
        case = self.volume.case
        return f"studies/{case.study_uid}/series/{case.series_uid}/instances/{sop_uid(case.series_uid, self.k)}"


class SliceInstances:
    """The slices of an archive's volume files as instances.

    Thread-safe: `_lock` guards the caches, and isn't held while voxels are read. `read` gives a
    case's voxels. Methods raise what it raises, and `NotFound` for a missing resource.
    """

    def __init__(self, client: DicomFiles, read: Callable[[Case], Volume]) -> None:
        self._client, self._read = client, read
        self._lock = threading.Lock()
        self._volumes: LRUCache[tuple[str, str], Volume] = LRUCache(VOLUMES_KEPT)
        self._scales: LRUCache[tuple[str, str], PixelScale] = LRUCache(SCALES_KEPT)
        self._metadata: ByteCache[Metadata] = ByteCache(JSON_BYTES, lambda kept: len(kept.encoded))

    def instances(self, study: str, series: str = "", sop: str = "") -> list[SliceInstance]:
        """The slices of a study or series, or a single one; k ascending in each series. Empty if there is no such
        volume."""
        volumes = self._client.volumes(study, series)
        if not sop:
            return [SliceInstance(volume, k) for volume in volumes for k in range(volume.case.instances)]
        at = [(volume, slice_of(volume.case.series_uid, sop)) for volume in volumes]
        return [SliceInstance(volume, k) for volume, k in at if k is not None and k < volume.case.instances]

    def metadata(self, instances: Sequence[SliceInstance]) -> Metadata:
        """The headers of slices of one series."""
        stamp = digest("\n".join(one.stamp for one in instances))

        def encode() -> Metadata:
            volume = instances[0].volume
            common, voxels = self._header(volume), self._volume(volume)
            shared = common.to_json_dict()
            texts = []
            for one in instances:
                own = slice_attributes(one.series, voxels.geometry, one.k)
                elements = {**shared, **own.to_json_dict()}
                elements[tag_of("AvailableTransferSyntaxUID")] = {"vr": "UI", "Value": [SYNTAX]}
                elements[PIXELS] = {"vr": "OW", "BulkDataURI": f"{one.address}/bulkdata/{PIXELS}"}
                texts.append(json.dumps(dict(sorted(elements.items())), separators=(",", ":")))
            return Metadata(stamp, f"[{','.join(texts)}]".encode())

        return self._metadata.get(stamp, encode)

    def frame_count(self, instance: SliceInstance) -> int:
        """One: each slice is an instance."""
        return 1

    def check_frames(self, instance: SliceInstance, numbers: Sequence[int]) -> None:
        """Raise `BadInput` for any frame but the first."""
        missing = [number for number in numbers if number != 1]
        if missing:
            raise BadInput(f"there is no frame {missing[0]}; the instance has 1")

    def frame(self, instance: SliceInstance, number: int, *, stored: bool) -> bytes:
        """The pixels of a slice, little endian."""
        self.check_frames(instance, [number])
        return self._pixels(instance).tobytes()

    def file_slice(self, instance: SliceInstance, number: int, *, stored: bool) -> None:
        """There is no file that has the pixels."""
        self.check_frames(instance, [number])

    def part10(self, instance: SliceInstance, *, stored: bool) -> bytes:
        """The instance as a Part 10 file in explicit little endian."""
        header = self._slice(instance)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        meta.TransferSyntaxUID = UID(SYNTAX)
        header.file_meta = meta
        header.add_new(0x7FE00010, "OW", self._pixels(instance).tobytes())
        stream = io.BytesIO()
        header.save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    def bulk(self, instance: SliceInstance, path: str) -> bytes:
        """Raises `NotFound`: the pixels are all that is binary."""
        raise NotFound("the instance has no such bulk data")

    def pixels_are(self, instance: SliceInstance, path: str) -> bool:
        """Whether a path in the metadata is that of the pixels."""
        return path.upper() == PIXELS

    def picture(self, instance: SliceInstance, number: int, how: Rendering) -> bytes:
        """A slice rendered as an image file. Raises `BadOption` for a viewport outside it."""
        self.check_frames(instance, [number])
        return render(self._pixels(instance), self._slice(instance), number, how)

    def _pixels(self, instance: SliceInstance) -> NDArray[np.generic]:
        voxels = self._volume(instance.volume).voxels
        return self._scale(instance.volume).stored(np.asarray(voxels[instance.k]))

    def _slice(self, instance: SliceInstance) -> Dataset:
        return slice_header(self._header(instance.volume), self._volume(instance.volume).geometry, instance.k)

    def _header(self, volume: VolumeFile) -> Dataset:
        header = series_header(volume.case, self._volume(volume).geometry)
        self._scale(volume).describe(header)
        return header

    def _volume(self, volume: VolumeFile) -> Volume:
        key = (volume.case.id, volume.case.stamp)
        with self._lock:
            found = self._volumes.get(key)
        if found is None:
            found = self._read(volume.case)
            # The file may have been replaced since it was listed.
            if found.geometry.shape[0] != volume.case.instances:
                raise NotFound("the file of this series has changed; look for its study again")
            with self._lock:
                self._volumes[key] = found
        return found

    def _scale(self, volume: VolumeFile) -> PixelScale:
        key = (volume.case.id, volume.case.stamp)
        with self._lock:
            found = self._scales.get(key)
        if found is None:
            own = (volume.slope, volume.intercept)
            found = pixel_scale(self._volume(volume).voxels, volume.case.modality, own)
            with self._lock:
                self._scales[key] = found
        return found


def middle(instances: Sequence[SliceInstance]) -> SliceInstance:
    """The instance that represents a volume."""
    first = instances[0]
    return replace(first, k=first.volume.case.instances // 2)
