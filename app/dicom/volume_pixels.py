"""Voxels of a volume file as 16-bit DICOM pixels (PS3.3 C.7.6.3), for showing only: labels and models never see them.

Whole numbers that fit 16 bits are stored as they are, whatever their type; so are those of a file with a slope of its
own. All others are spread over the 65536 values between the smallest and the largest voxel. Where they span little,
such as 0 to 1, viewers get them times a power of ten: windows are at least 1 wide (PS3.3 C.11.2.1.2.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

LEVELS = 65535
_SAMPLES = 1 << 20
_BRIGHT = (1.0, 99.0)
"""Percentiles of the voxels that aren't background, between which the window lies."""
_CT_WINDOW = (40.0, 400.0)
_NARROW, _WIDE = 100.0, 1000.0
"""Values that span less than the first, and aren't whole, are shown as if they spanned the second."""


@dataclass(frozen=True)
class PixelScale:
    """How voxels are stored: `value * factor = stored * slope + intercept`. `exact`: storing loses nothing. `center`
    and `width` are the window, of values times `factor`."""

    signed: bool
    slope: float
    intercept: float
    exact: bool
    center: float
    width: float
    factor: int = 1

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype("<i2" if self.signed else "<u2")

    def stored(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """The pixels of voxels, in the same shape. NaN becomes the smallest, infinities the end of the range."""
        if (self.slope, self.intercept, self.factor) == (1.0, 0.0, 1) and values.dtype.kind in "iu":
            return np.ascontiguousarray(values, self.dtype)
        limits = np.iinfo(self.dtype.type)  # type: ignore[type-var]
        scaled = np.rint((np.asarray(values, np.float64) * self.factor - self.intercept) / self.slope)
        scaled = np.nan_to_num(scaled, nan=float(limits.min), posinf=float(limits.max), neginf=float(limits.min))
        return np.clip(scaled, limits.min, limits.max).astype(self.dtype)

    def describe(self, header: Dataset) -> None:
        """Write the scale and the window into an image's header."""
        header.PixelRepresentation = int(self.signed)
        if self.factor != 1:
            note = f" (values x {self.factor})"
            header.SeriesDescription = f"{header.SeriesDescription[: 64 - len(note)]}{note}"
        header.RescaleIntercept = format_number_as_ds(self.intercept)
        header.RescaleSlope = format_number_as_ds(self.slope)
        header.RescaleType = "HU" if header.Modality == "CT" else "US"
        header.WindowCenter = format_number_as_ds(self.center)
        header.WindowWidth = format_number_as_ds(self.width)


def pixel_scale(voxels: NDArray[np.generic], modality: str, own: tuple[float, float] = (1.0, 0.0)) -> PixelScale:
    """The scale for voxels `(k, j, i)`, read slice by slice. `own` are the slope and intercept of the file, whose
    stored values are whole numbers if it has any."""
    low, high, whole = _range(voxels)
    own_steps = not whole and _is_scaled(voxels, *own)
    factor = 1 if whole or high - low >= _NARROW else 10 ** max(0, math.ceil(math.log10(_WIDE / ((high - low) or 1.0))))
    center, width = (factor * value for value in _window(voxels, modality, low, high))
    if whole or own_steps:
        slope, intercept = (1.0, 0.0) if whole else own
        ends = sorted(((low - intercept) / slope, (high - intercept) / slope))
        if ends[0] >= -32768 and ends[1] <= 32767:
            return PixelScale(True, slope * factor, intercept * factor, True, center, width, factor)
        if ends[0] >= 0 and ends[1] <= LEVELS:
            return PixelScale(False, slope * factor, intercept * factor, True, center, width, factor)
    if whole and high - low <= LEVELS:
        return PixelScale(False, 1.0, low, True, center, width)
    # Decimal strings have 16 characters: what the header says is what is used.
    slope = float(format_number_as_ds(factor * (high - low) / LEVELS)) or 1.0
    return PixelScale(False, slope, float(format_number_as_ds(factor * low)), False, center, width, factor)


def _range(voxels: NDArray[np.generic]) -> tuple[float, float, bool]:
    """The smallest and largest finite voxel, and whether all are finite whole numbers."""
    low, high, whole = np.inf, -np.inf, True
    for plane in voxels:
        values = plane
        if voxels.dtype.kind == "f":
            finite = np.isfinite(plane)
            values = plane if finite.all() else plane[finite]
            whole = whole and values.size == plane.size and bool((np.rint(values) == values).all())
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high, whole) if low <= high else (0.0, 0.0, False)


def _is_scaled(voxels: NDArray[np.generic], slope: float, intercept: float) -> bool:
    """Whether all voxels are whole multiples of `slope` from `intercept`, as far as 32 bits tell."""
    if (slope, intercept) == (1.0, 0.0) or slope == 0:
        return False
    for plane in voxels:
        steps = (np.asarray(plane, np.float64) - intercept) / slope
        if not np.isfinite(steps).all() or float(np.abs(np.rint(steps) - steps).max()) > 0.05:
            return False
    return True


def _window(voxels: NDArray[np.generic], modality: str, low: float, high: float) -> tuple[float, float]:
    """Centre and width: soft tissue for a CT in HU, else where most voxels that aren't background lie."""
    if modality == "CT" and low < -500 < 200 < high:
        return _CT_WINDOW
    every = tuple(slice(None, None, max(1, round((voxels.size / _SAMPLES) ** (1 / 3)))) for _ in range(3))
    sample = np.asarray(voxels[every], np.float64).ravel()
    sample = sample[np.isfinite(sample) & (sample > low)]
    first, last = np.percentile(sample, _BRIGHT) if sample.size else (low, high)
    width = float(last - first) if last > first else max(high - low, 1.0)
    return float(first + last) / 2, width
