"""Stored values -> modality values, in the smallest type that holds them exactly (DICOM PS3.3 C.11.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.dicom.planes import Plane


def voxel_type(planes: Sequence[Plane]) -> np.dtype[np.generic]:
    """int16 where every rescaled value is exact and fits, else int32, else float32 (fractional slopes, as in PET)."""
    factors = {float(factor) for plane in planes for factor in (plane.slope, plane.intercept)}
    if not all(factor.is_integer() and abs(factor) < 2**31 for factor in factors):
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
