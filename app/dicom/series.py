"""A DICOM series -> a Volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.tag import Tag

from app.core.volume import Volume
from app.dicom.decoding import decode
from app.dicom.ordering import Stack, missing_text, stack
from app.dicom.parsing import PARSER_ERRORS, PIXEL_KEYWORDS, parse
from app.dicom.planes import Plane, planes_of
from app.dicom.rescale import rescale_into, voxel_type
from app.dicom.values import text
from app.errors import BadFile, UnusableSeries
from app.formats.volume_header import DEFAULT_MAX_BYTES

_SERIES = Tag("SeriesInstanceUID")


@dataclass(frozen=True, eq=False)
class Assembled:
    """A series as a volume. `headers` have no pixel data and are in slice order; a multi-frame series has one."""

    volume: Volume
    headers: tuple[Dataset, ...]


def assemble(instances: Sequence[Dataset], *, fill_gaps: bool = False, max_bytes: int = DEFAULT_MAX_BYTES) -> Assembled:
    """`SeriesBuilder` for a series that is already here. The datasets are left as they are."""
    builder = SeriesBuilder(fill_gaps=fill_gaps, max_bytes=max_bytes)
    for instance in instances:
        builder.add(instance)
    return builder.build()


class SeriesBuilder:
    """Takes the instances of one series as they arrive, in any order, and makes a volume of them.

    Each instance is decoded by `add`, so that decoding goes on while others arrive. With `fill_gaps` missing slices
    are interpolated (and listed in a warning) instead of refused. `max_bytes` limits what the whole series may decode
    to. Not thread-safe.
    """

    def __init__(self, *, fill_gaps: bool = False, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._fill_gaps = fill_gaps
        self._bytes_left = max_bytes
        self._headers: list[Dataset] = []
        self._planes: list[Plane] = []

    def add(self, instance: bytes | Dataset, *, owned: bool = False) -> None:
        """Take one instance, a Part 10 file or a dataset. An `owned` dataset may be changed: it loses its pixels.

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
