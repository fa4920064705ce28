"""The 48 orientations in which the same voxels can be stored: permuted and reversed axes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

PROBES = 4096


@dataclass(frozen=True)
class Orientation:
    """`axes[a]` is the axis of the source array that becomes axis `a`; it is then reversed if `flips[a]`."""

    axes: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)

    def apply(self, voxels: NDArray[np.generic]) -> NDArray[np.generic]:
        """A view of `voxels` in this orientation."""
        turned = voxels.transpose(self.axes)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]


def orientation_between(given: NDArray[np.generic], wanted: NDArray[np.generic]) -> Orientation | None:
    """The orientation in which `given` equals `wanted`, both 3D; None if there is none."""
    probe = np.random.default_rng(0).integers(0, wanted.shape, (PROBES, 3)) if wanted.size else None
    if probe is None:
        return None
    expected = wanted[tuple(probe.T)]
    for axes in sorted(permutations(range(3))):
        if tuple(given.shape[axis] for axis in axes) != wanted.shape:
            continue
        for flips in product((False, True), repeat=3):
            orientation = Orientation((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))
            turned = orientation.apply(given)
            # A sample of voxels rejects most wrong orientations without comparing whole arrays.
            if np.array_equal(turned[tuple(probe.T)], expected) and np.array_equal(turned, wanted):
                return orientation
    return None
