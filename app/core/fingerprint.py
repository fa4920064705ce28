"""A digest of an image's voxels that doesn't depend on axis order or data type."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

MAX_COUNTED = 2**22
"""Integers of smaller magnitude are counted in a table; other values are sorted."""


def fingerprint(voxels: NDArray[np.generic]) -> str:
    """SHA-256 of the sorted axis sizes and the histogram of the values as float32; `voxels` has any axis order.

    Viewers send voxels as float32 (ITK-SNAP), as stored (3D Slicer), with permuted (napari with nibabel) or reversed
    axes; the digest is the same. Equal digests don't prove equal images:
    `app.core.orientation.orientation_between` compares voxel by voxel.
    """
    values, counts = _histogram(np.asarray(voxels, np.float32).ravel())
    digest = sha256(repr(sorted(voxels.shape)).encode())
    digest.update(values.astype("<f4").tobytes())
    digest.update(counts.astype("<i8").tobytes())
    return digest.hexdigest()


def _histogram(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The distinct values, ascending, and their counts."""
    low, high = float(values.min()), float(values.max())
    if low > -MAX_COUNTED and high < MAX_COUNTED:
        whole = values.astype(np.int32)
        if np.array_equal(whole, values):
            counts = np.bincount(whole - int(low))
            present = np.flatnonzero(counts)
            return (present + int(low)).astype(np.float32), counts[present]
    # Adding zero makes -0.0 and 0.0 one value.
    unique, counts = np.unique(values + np.float32(0), return_counts=True)
    return unique, counts
