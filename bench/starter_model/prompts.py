"""Prompts as nnInteractive's session makes them: where to click, what is drawn, and what the network then sees.

Masks are bool (k, j, i). Interactions are float32 (7, k, j, i) in the session's channel order, stored pre-multiplied
by a strength that grows with every prompt, which is how the session fades older prompts.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from nnInteractive.utils.erosion_dilation import iterative_3x3_same_padding_pool3d
from nnInteractive.utils.rounding import round_to_nearest_odd
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn.functional import interpolate

from bench.starter_model.architecture import (
    DECAY,
    INTERACTION_CHANNELS,
    POINT,
    POINT_RADIUS,
    PREVIOUS,
    REGION,
    SCRIBBLE,
)

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Rng = np.random.Generator
Index = tuple[int, int, int]
Window = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Region:
    """A part of a mask: ``mask`` bool (k, j, i) inside the volume's ``window``."""

    window: Window
    mask: BoolArray

    def to_volume(self, local: NDArray[np.intp]) -> Index:
        """An index inside ``mask`` as an index of the volume."""
        return tuple(int(a) + w.start for a, w in zip(local, self.window, strict=True))  # type: ignore[return-value]


def bounding_window(mask: BoolArray, margin: int = 0) -> Window | None:
    """The smallest window that holds the true voxels, grown by ``margin`` and cut to the volume; None if empty."""
    window = []
    for axis in range(3):
        hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if hits.size == 0:
            return None
        window.append(slice(max(0, int(hits[0]) - margin), min(mask.shape[axis], int(hits[-1]) + 1 + margin)))
    return window[0], window[1], window[2]


def largest_component(mask: BoolArray) -> Region | None:
    """The largest connected component (faces, 6 neighbours), or None if the mask is empty."""
    window = bounding_window(mask)
    if window is None:
        return None
    parts, _ = ndimage.label(mask[window])
    return Region(window, parts == np.bincount(parts.ravel())[1:].argmax() + 1)


def largest_error(truth: BoolArray, mask: BoolArray) -> tuple[Region, bool] | None:
    """The largest wrong component and whether it is missing (True: a positive prompt is due) or too much."""
    missing = largest_component(truth & ~mask)
    excess = largest_component(mask & ~truth)
    if missing is None and excess is None:
        return None
    if excess is None or (missing is not None and missing.mask.sum() >= excess.mask.sum()):
        assert missing is not None
        return missing, True
    return excess, False


def inner_point(region: Region, rng: Rng | None = None) -> Index:
    """The point deepest inside a region or, with ``rng``, a random one at 0.4 of that depth or more."""
    depth = ndimage.distance_transform_edt(np.pad(region.mask, 1))[1:-1, 1:-1, 1:-1]
    if rng is None:
        return region.to_volume(np.array(np.unravel_index(depth.argmax(), depth.shape)))
    deep = np.argwhere(depth >= 0.4 * depth.max())
    return region.to_volume(deep[rng.integers(len(deep))])


def _ball() -> FloatArray:
    """A ball, 1 at its centre and falling towards the rim like the session's own point."""
    axis = np.arange(-POINT_RADIUS, POINT_RADIUS + 1)
    squared = (np.stack(np.meshgrid(axis, axis, axis, indexing="ij")) ** 2).sum(0)
    depth = ndimage.distance_transform_edt(squared <= POINT_RADIUS**2)
    return np.asarray(depth / depth.max(), np.float32)


@cache
def point_profile(zoom: float) -> FloatArray:
    """What a point looks like in a view that is ``zoom`` times as wide: widened, then shrunk by area; odd sides."""
    if zoom == 1:
        return _ball()
    half = POINT_RADIUS + round(zoom) + 1
    side = 2 * round(half / zoom) + 1
    large = torch.zeros(1, 1, *[round(side * zoom)] * 3)
    start = (large.shape[2] - 2 * POINT_RADIUS - 1) // 2
    window = slice(start, start + 2 * POINT_RADIUS + 1)
    large[0, 0, window, window, window] = torch.from_numpy(_ball())
    kernel = round_to_nearest_odd(zoom * 2 - 1)
    wide = iterative_3x3_same_padding_pool3d(large, kernel) if kernel > 1 else large
    return np.asarray(interpolate(wide, [side] * 3, mode="area")[0, 0].numpy(), np.float32)


class Canvas:
    """The interaction channels of one volume, (7, k, j, i), with the previous mask in channel 0.

    The volume is what a view of ``zoom`` sees, already shrunk; prompts look on it as the session shrinks them.
    """

    def __init__(self, shape: tuple[int, ...], zoom: float = 1.0) -> None:
        self.channels = np.zeros((INTERACTION_CHANNELS, *shape), np.float32)
        self.strength = 1.0
        self.zoom = zoom

    def _fade_older(self) -> None:
        self.strength /= DECAY

    def add_point(self, index: Index, positive: bool) -> None:
        """Draw a click."""
        self._fade_older()
        profile = point_profile(self.zoom)
        radius = profile.shape[0] // 2
        channel = self.channels[POINT if positive else POINT + 1]
        low = [max(0, a - radius) for a in index]
        high = [min(n, a + radius + 1) for a, n in zip(index, channel.shape, strict=True)]
        there = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        here = tuple(slice(a - c + radius, b - c + radius) for a, b, c in zip(low, high, index, strict=True))
        channel[there] = np.maximum(channel[there], profile[here] * self.strength)

    def add_drawing(self, kind: str, region: Region, positive: bool) -> None:
        """Draw a filled box or lasso (one channel pair) or a scribble."""
        self._fade_older()
        first = SCRIBBLE if kind == "scribble" else REGION
        view = self.channels[first if positive else first + 1][region.window]
        view[region.mask] = self.strength if kind == "scribble" else self.strength / self.zoom

    @property
    def previous(self) -> FloatArray:
        """The previous mask as 0 and 1, (k, j, i); a view, so writing to it changes the canvas."""
        return self.channels[PREVIOUS]


def draw_on_slice(kind: str, region: Region, rng: Rng) -> Region:
    """A box, lasso or scribble on a random slice through a region, as a one-slice region of the volume."""
    axis = int(rng.integers(3))
    index = inner_point(region, rng)[axis] - region.window[axis].start
    plane = region.mask.take(index, axis=axis)
    if kind == "bbox":
        corners = np.argwhere(plane)
        low = np.maximum(0, corners.min(0) + rng.integers(-1, 2, 2))
        high = np.maximum(low + 1, corners.max(0) + 1 + rng.integers(-1, 2, 2))
        drawn = np.zeros(plane.shape, bool)
        drawn[low[0] : high[0], low[1] : high[1]] = True
    elif kind == "lasso":
        drawn = ndimage.binary_dilation(plane, iterations=1) if rng.random() < 0.5 else plane
    else:
        depth = ndimage.distance_transform_edt(np.pad(plane, 1))[1:-1, 1:-1]
        drawn = depth >= 0.7 * depth.max()
    window = list(region.window)
    window[axis] = slice(window[axis].start + index, window[axis].start + index + 1)
    return Region((window[0], window[1], window[2]), np.expand_dims(drawn, axis))


def _padded_crop(volume: NDArray[np.generic], centre: Index, patch: int) -> NDArray[np.float32]:
    """The patch around a voxel of a (k, j, i) volume as float32, zero where it reaches outside."""
    low = [c - patch // 2 for c in centre]
    out = np.zeros([patch] * 3, np.float32)
    there = tuple(slice(max(0, a), min(n, a + patch)) for a, n in zip(low, volume.shape, strict=True))
    here = tuple(slice(w.start - a, w.stop - a) for w, a in zip(there, low, strict=True))
    out[here] = volume[there]
    return out


def network_input(image: FloatArray, canvas: Canvas, centre: Index, patch: int) -> torch.Tensor:
    """What the session feeds the network for the patch around a voxel: float32 (8, patch, patch, patch)."""
    out = np.zeros((1 + INTERACTION_CHANNELS, patch, patch, patch), np.float32)
    out[0] = _padded_crop(image, centre, patch)
    for channel in range(INTERACTION_CHANNELS):
        crop = _padded_crop(canvas.channels[channel], centre, patch)
        out[1 + channel] = crop if channel == PREVIOUS else crop / canvas.strength
    return torch.from_numpy(out)


def network_target(truth: BoolArray, centre: Index, patch: int) -> torch.Tensor:
    """The right answer for the patch around a voxel: int64 (patch, patch, patch)."""
    return torch.from_numpy(_padded_crop(truth, centre, patch) > 0.5).long()


def paste_prediction(canvas: Canvas, prediction: NDArray[np.float32], centre: Index) -> None:
    """Write a (patch, patch, patch) prediction back as the previous mask of the volume."""
    patch = prediction.shape[0]
    low = [c - patch // 2 for c in centre]
    volume = canvas.previous
    there = tuple(slice(max(0, a), min(n, a + patch)) for a, n in zip(low, volume.shape, strict=True))
    here = tuple(slice(w.start - a, w.stop - a) for w, a in zip(there, low, strict=True))
    volume[there] = prediction[here]
