"""The metadata of an upload, validated before its voxels are decompressed or memory is allocated.

Protocol: docs/protocols/itksnap.md, section 2.3.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import HTTPException, Request
from numpy.typing import NDArray

from app.core.volume import Geometry, Index
from app.errors import BadFile, BadInput
from app.http import forms

_TYPES = frozenset({"float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"})
"""The accepted types, by numpy's names. ITK-SNAP sends float32, whatever the image's type is."""

_UNIT = 1e-3  # tolerance for unit length and right angles of a direction's columns


@dataclass(frozen=True)
class Grid:
    """The voxels of a buffer: `shape` `(k, j, i)` and little-endian `dtype`.

    `placed`: the geometry is the image's position in the patient; otherwise only the spacing can be right. A 2D image
    is a volume of one slice and never placed: its position in the volume isn't sent.
    """

    shape: Index
    dtype: np.dtype[Any]
    geometry: Geometry
    placed: bool

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def read_metadata(text: str, max_bytes: int) -> Grid:
    """The grid in a `metadata` part. Raises `BadInput` for invalid values, and `BadFile` above `max_bytes`."""
    try:
        sent = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the metadata are no JSON: {error}") from error
    if not isinstance(sent, dict):
        raise BadInput("the metadata should be a JSON object")
    dimensions = _dimensions(sent.get("dimensions"))
    dtype = _dtype(sent.get("component_type", "float32"))
    _check_components(sent.get("components_per_pixel", 1))
    size = prod(dimensions) * dtype.itemsize
    if size > max_bytes:
        raise BadFile(
            f"{' x '.join(map(str, dimensions))} voxels take {size // 2**20} MB, and the server takes"
            f" {max_bytes // 2**20} MB at most (setting labels.max_upload_bytes)"
        )
    i, j, k = (*dimensions, 1)[:3]
    geometry, placed = _geometry(sent, (k, j, i), flat=len(dimensions) == 2)
    return Grid((k, j, i), dtype, geometry, placed)


def _dimensions(value: object) -> tuple[int, ...]:
    if (
        not isinstance(value, list)
        or len(value) not in (2, 3)
        or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in value)
    ):
        raise BadInput("the metadata's dimensions should be two or three positive whole numbers, x first")
    return tuple(value)


def _dtype(value: object) -> np.dtype[Any]:
    if not isinstance(value, str) or value not in _TYPES:
        raise BadInput(f"voxels of type {str(value)[:40]!r} are not taken; send float32")
    return np.dtype(value).newbyteorder("<")


def _check_components(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput("the metadata's components_per_pixel should be a positive whole number")
    if value != 1:
        raise BadInput(f"the image has {value} components per pixel; the models here take one, a grey image")


def _geometry(sent: Mapping[str, Any], shape: Index, *, flat: bool) -> tuple[Geometry, bool]:
    """The geometry, and whether it was sent. Invalid values are no error: the original server ignores them all."""
    axes = 2 if flat else 3
    spacing = _numbers(sent.get("spacing"), axes)
    if spacing is None or not (spacing > 0).all():
        return Geometry(shape, np.eye(4)), False
    origin, direction = _numbers(sent.get("origin"), axes), _numbers(sent.get("direction"), axes * axes)
    if flat or origin is None or direction is None or not _turns(direction.reshape(3, 3)):
        return Geometry(shape, np.diag([*(*spacing, 1.0)[:3], 1.0])), False
    return Geometry.from_itk(shape, spacing.tolist(), origin.tolist(), direction.tolist()), True


def _turns(direction: NDArray[np.float64]) -> bool:
    return bool(np.allclose(direction.T @ direction, np.eye(3), atol=_UNIT))


def _numbers(value: object, count: int) -> NDArray[np.float64] | None:
    """A list of `count` finite numbers, or None if the value is anything else."""
    if not isinstance(value, list) or len(value) != count:
        return None
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in value):
        return None
    return np.array(value, float) if all(abs(x) < 1e9 and isfinite(x) for x in value) else None


@dataclass(frozen=True)
class Voxels:
    """An upload: a gzip `file`, deleted when the form's block ends, and its metadata as JSON text.

    The file comes before the metadata. So it stays compressed, on disk, until the metadata declare its size.
    """

    file: Path
    metadata: str


@asynccontextmanager
async def received(request: Request, folder: Path, max_bytes: int) -> AsyncIterator[Voxels]:
    """Receive a request's form; its file is below `folder` until the block ends.

    Raises as `forms.received`, and `HTTPException` (422) if a part is missing or incomplete.
    """
    async with forms.received(request, folder, max_bytes) as form:
        upload, metadata = form.upload("file"), form.fields.get("metadata")
        if upload is None or metadata is None:
            missing = "file" if upload is None else "metadata"
            raise HTTPException(422, f"the form has no part {missing!r}, or breaks off in it")
        yield Voxels(upload.file, metadata)
