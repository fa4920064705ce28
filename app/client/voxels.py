"""Arrays and prompts in JSON, as `/api/v1` has them (docs/api.md)."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.client.shapes import LabelVoxels, PackedVoxels
from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Scribble
from app.core.volume import Index


def unpacked(text: str, shape: Index) -> NDArray[np.uint8]:
    """The voxels `(k, j, i)` in base64 of gzip of one byte a voxel."""
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8).reshape(shape)


def label_voxels(packed: PackedVoxels) -> LabelVoxels:
    values = packed.labels or {name: value for value, name in enumerate(packed.structures, start=1)}
    return LabelVoxels(unpacked(packed.voxels, packed.shape), values)


def compressed(labelmap: NDArray[np.uint8]) -> bytes:
    return gzip.compress(np.ascontiguousarray(labelmap, np.uint8).data, compresslevel=1, mtime=0)


def encoded(prompt: Prompt) -> dict[str, Any]:
    """A prompt in JSON."""
    match prompt:
        case Point():
            return {"type": "point", "at": prompt.at, "include": prompt.include}
        case Box():
            return {"type": "box", **_region(prompt), "include": prompt.include}
        case Scribble() | Lasso():
            kind = "scribble" if isinstance(prompt, Scribble) else "lasso"
            return {"type": kind, **_region(prompt), "include": prompt.include, "voxels": _bits(prompt.voxels)}
        case InitialMask():
            return {"type": "mask", "voxels": _bits(prompt.voxels), "refine": prompt.refine}


def _region(prompt: Box | Scribble | Lasso) -> dict[str, Index]:
    return {"low": prompt.region.low, "high": prompt.region.high}


def _bits(voxels: NDArray[np.bool_]) -> str:
    return base64.b64encode(np.packbits(np.asarray(voxels, bool)).tobytes()).decode()
