"""A digest of an image's voxels that is the same however they are stored: in which order of axes, in which type."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

LARGEST_COUNTED = 2**22
"""Integers below this in size are counted in a table; anything else is sorted."""


def fingerprint(voxels: NDArray[np.generic]) -> str:
    """Digest of the sorted sizes and of how often each value occurs, as float32.

    Viewers hand voxels on as float32 (ITK-SNAP), as stored (3D Slicer), with other axes first (napari with nibabel) or
    reversed; none of that changes this digest. Equal digests are a strong hint and no proof:
    `app.core.orientation.orientation_between` compares voxel by voxel.
    """
    values, counts = _histogram(np.asarray(voxels, np.float32).ravel())
    digest = sha256(repr(sorted(voxels.shape)).encode())
    digest.update(values.astype("<f4").tobytes())
    digest.update(counts.astype("<i8").tobytes())
    return digest.hexdigest()


def _histogram(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The values that occur, ascending, and how often."""
    low, high = float(values.min()), float(values.max())
    if low > -LARGEST_COUNTED and high < LARGEST_COUNTED:
        whole = values.astype(np.int32)
        if np.array_equal(whole, values):
            counts = np.bincount(whole - int(low))
            present = np.flatnonzero(counts)
            return (present + int(low)).astype(np.float32), counts[present]
    # Adding zero makes -0.0 and 0.0 one value.
    unique, counts = np.unique(values + np.float32(0), return_counts=True)
    return unique, counts
