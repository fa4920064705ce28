"""Stored values -> modality values, in the smallest type that holds them exactly (DICOM PS3.3 C.11.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.dicom.planes import Plane


def voxel_type(planes: Sequence[Plane]) -> np.dtype[np.generic]:
    """int16 where every rescaled value is exact and fits, else int32, else float32 (fractional slopes, as in PET)."""
    if not all(float(p.slope).is_integer() and float(p.intercept).is_integer() for p in planes):
        return np.dtype(np.float32)
    low, high = zip(*(_range(plane) for plane in planes), strict=True)
    for candidate in (np.int16, np.int32):
        if np.iinfo(candidate).min <= min(low) and max(high) <= np.iinfo(candidate).max:
            return np.dtype(candidate)
    return np.dtype(np.float32)


def rescale_into(plane: Plane, out: NDArray[np.generic]) -> None:
    """Write `stored * slope + intercept` into `out` `(rows, columns)`, whose type `voxel_type` chose."""
    if out.dtype.kind == "f":
        # In float64 first: a product rounded to float32 and then shifted would be rounded twice.
        np.copyto(out, plane.stored.astype(np.float64) * plane.slope + plane.intercept, casting="unsafe")
        return
    # Integer arithmetic modulo 2^n ends at the right value, because the value is known to fit.
    np.copyto(out, plane.stored, casting="unsafe")
    if plane.slope != 1:
        np.multiply(out, out.dtype.type(plane.slope), out=out)
    if plane.intercept != 0:
        np.add(out, out.dtype.type(plane.intercept), out=out)


def _range(plane: Plane) -> tuple[int, int]:
    slope, intercept = int(plane.slope), int(plane.intercept)
    ends = (int(plane.stored.min()) * slope + intercept, int(plane.stored.max()) * slope + intercept)
    return min(ends), max(ends)
