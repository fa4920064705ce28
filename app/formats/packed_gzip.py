"""A mask of one bit a voxel as one gzip stream of which only the parts that changed are compressed anew.

Eight slices at a time: whatever their size, their bits fill whole bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import Region
from app.formats.slicewise_gzip import SlicewiseGzip

SLICES = 8


class PackedGzip:
    """The gzip stream of `np.packbits(mask)`, most significant bit first, for a uint8 mask `(k, j, i)` of 0 and 1.

    Its owner changes the mask in place. Not thread-safe: whoever holds the lock of the mask holds this too.
    """

    def __init__(self, mask: NDArray[np.uint8]) -> None:
        slices, rows, columns = mask.shape
        self._mask = mask
        self._packed = np.zeros((slices // SLICES, 1, rows * columns), np.uint8)
        self._encoder = SlicewiseGzip(self._packed)
        self._touched = set(range(len(self._packed)))

    def touch(self, region: Region | None) -> None:
        """Say that the mask may have changed within `region`; None is nothing."""
        if region is not None:
            end = (region.high[0] - 1) // SLICES + 1
            self._touched.update(range(region.low[0] // SLICES, min(end, len(self._packed))))

    def gzip(self) -> bytes:
        """The stream of the mask as it is now, of exactly `ceil(voxels / 8)` bytes."""
        for group in self._touched:
            bits = np.packbits(self._mask[group * SLICES : (group + 1) * SLICES])
            self._packed[group, 0] = bits
            self._encoder.touch(Region((group, 0, 0), (group + 1, 1, bits.size)))
        self._touched.clear()
        rest = np.packbits(self._mask[len(self._packed) * SLICES :])
        return self._encoder.gzip(suffix=rest.tobytes())
