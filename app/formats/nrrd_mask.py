"""A mask as an NRRD file with attached data (teem's NRRD0004), as Slicer, ITK and OHIF read it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import DTypeLike

from app.core.volume import Geometry

Encoding = Literal["raw", "gzip"]

_TYPES = {"u1": "unsigned char", "u2": "unsigned short", "i2": "short", "u4": "unsigned int", "f4": "float"}


def nrrd_header(geometry: Geometry, dtype: DTypeLike = np.uint8, encoding: Encoding = "raw") -> bytes:
    """The header, up to and with the blank line; the voxels follow, i fastest, raw little-endian or as one gzip stream.

    Numbers are written so that reading gives back the same float64.
    """
    k, j, i = geometry.shape
    directions = " ".join(_vector(geometry.affine[:3, axis]) for axis in range(3))
    lines = (
        "NRRD0004",
        f"type: {_TYPES[np.dtype(dtype).str[1:]]}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {i} {j} {k}",
        f"space directions: {directions}",
        "kinds: domain domain domain",
        "endian: little",
        f"encoding: {encoding}",
        f"space origin: {_vector(geometry.affine[:3, 3])}",
    )
    return ("\n".join(lines) + "\n\n").encode("ascii")


def _vector(values: np.typing.NDArray[np.float64]) -> str:
    return "(" + ",".join(repr(float(v)) for v in values) + ")"
