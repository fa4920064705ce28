"""Points as an input channel of a network (guidance signal), the same in training and in inference."""

from __future__ import annotations

from collections.abc import Iterable
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Index

DEEPGROW_SIGMA = 2.0
"""Voxels; as in monai.apps.deepgrow (Sakinis et al., arXiv 1903.08205)."""

DEEPEDIT_SIGMA = 3.0
"""Voxels; as in monai.apps.deepedit (Diaz-Pinto et al., arXiv 2305.10655)."""

_TRUNCATED = 4.0  # the kernel reaches this many sigmas to each side, as MONAI's GaussianFilter


def point_guidance(shape: Index, points: Iterable[Index], sigma: float) -> NDArray[np.float32]:
    """The sum of a Gaussian of `sigma` voxels at each point, scaled to 0..1, float32 `(k, j, i)`.

    The same values as MONAI's `AddGuidanceSignal` (deepgrow) and `AddGuidanceSignalDeepEdit`. All zero without points;
    points outside `shape` are ignored. A 2D signal has the shape `(1, j, i)`.
    """
    kernel = _kernel(sigma)
    reach = len(kernel) // 2
    signal = np.zeros(shape, np.float32)
    for point in dict.fromkeys(points):  # a voxel clicked twice counts once
        if not all(0 <= x < n for x, n in zip(point, shape, strict=True)):
            continue
        low = [max(0, x - reach) for x in point]
        high = [min(n, x + reach + 1) for x, n in zip(point, shape, strict=True)]
        k, j, i = (kernel[a - x + reach : b - x + reach] for a, b, x in zip(low, high, point, strict=True))
        signal[low[0] : high[0], low[1] : high[1], low[2] : high[2]] += (
            k[:, None, None] * j[None, :, None] * i[None, None, :]
        )
    lowest, highest = signal.min(), signal.max()
    if highest > lowest:
        signal = (signal - lowest) / (highest - lowest)
    return signal


def _kernel(sigma: float) -> NDArray[np.float32]:
    """A Gaussian integrated over each voxel, `(2 reach + 1,)`."""
    reach = int(max(sigma * _TRUNCATED, 0.5) + 0.5)
    scale = 1 / (sqrt(2) * sigma)
    return np.array(
        [0.5 * (erf(scale * (x + 0.5)) - erf(scale * (x - 0.5))) for x in range(-reach, reach + 1)], np.float32
    )
