"""The header of a volume file, independent of its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from app.core.volume import Geometry
from app.errors import BadFile
from app.formats.inflate import GREATEST_RATIO

Encoding = Literal["raw", "gzip", "zlib"]

MAX_VOXELS = 1 << 31

DEFAULT_MAX_BYTES = 4 << 30
"""The limit of one image's decoded size in bytes."""


@dataclass(frozen=True, eq=False)
class VolumeHeader:
    """A checked header.

    `geometry` is the grid `(k, j, i)` in LPS mm. `dtype` is the stored type with its byte order. The voxel data begin
    at `offset` of the file, or with `inside` of the inflated stream (`.nii.gz`). `layers` is the length of a fourth
    axis, which is the fastest in the data if `layers_first`, else the slowest. `slope` and `intercept` map stored
    values to voxel values. `fields` are the header's keys and values.
    """

    format: Literal["NIfTI", "NRRD", "MetaImage"]
    geometry: Geometry
    dtype: np.dtype[Any]
    offset: int
    encoding: Encoding = "raw"
    inside: bool = False
    layers: int = 1
    layers_first: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def data_bytes(self) -> int:
        return self.geometry.voxel_count * self.layers * self.dtype.itemsize

    @property
    def data_shape(self) -> tuple[int, ...]:
        """The shape of the data in C order."""
        if self.layers == 1:
            return self.geometry.shape
        return (*self.geometry.shape, self.layers) if self.layers_first else (self.layers, *self.geometry.shape)


def check_sizes(header: VolumeHeader, file_bytes: int, max_bytes: int) -> None:
    """Raise `BadFile` if the data exceed `max_bytes`, or are impossible for a file of `file_bytes`."""
    size = " x ".join(str(n) for n in header.geometry.shape[::-1])
    if header.geometry.voxel_count * header.layers > MAX_VOXELS or header.data_bytes > max_bytes:
        raise BadFile(f"the {header.format} file declares {size} voxels, more than this server takes")
    if header.encoding == "raw":
        there = file_bytes - header.offset
        if there != header.data_bytes:
            raise BadFile(f"the {header.format} file declares {header.data_bytes} bytes of voxels and has {there}")
    elif header.data_bytes > file_bytes * GREATEST_RATIO:
        raise BadFile(f"the {header.format} file declares {size} voxels, which its {file_bytes} bytes can't hold")
