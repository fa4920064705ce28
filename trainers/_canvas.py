"""Prompts as nnInteractive's session makes them: where to click, what is drawn, and what the network then sees.

Masks are bool `(k, j, i)`. Prompts are float32 `(channel, k, j, i)` in the session's channel order, stored multiplied
by a strength that grows with every prompt, which is how the session fades older prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn.functional import interpolate, max_pool3d

from app.core.volume import Index

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Rng = np.random.Generator
Window = tuple[slice, slice, slice]
Drawing = Literal["bbox", "lasso", "scribble"]


@dataclass(frozen=True)
class Layout:
    """Which of a session's `channels` holds what (the network sees the image first): `previous` the mask so far,
    `points` and `drawings` what includes and what excludes. `radius` of a point is in voxels; `decay` fades older
    prompts with each newer one."""

    channels: int
    previous: int
    points: tuple[int, int]
    drawings: Mapping[Drawing, tuple[int, int]]
    radius: int
    decay: float

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Layout:
        """From `ModelSpec.arguments["input"]` of an nnInteractive model. Raises `ValueError` for one without points."""
        prompts = {name: (int(pair[0]), int(pair[1])) for name, pair in described["prompts"].items()}
        if "points" not in prompts:
            raise ValueError("a model that takes no points can't be trained from clicks")
        names: dict[str, Drawing] = {"bbox2d": "bbox", "lasso": "lasso", "scribble": "scribble"}
        drawings = {drawing: prompts[name] for name, drawing in names.items() if name in prompts}
        return cls(
            int(described["channels"]),
            int(described["previous"]),
            prompts["points"],
            drawings,
            int(described["point_radius"]),
            float(described["decay"]),
        )


@dataclass(frozen=True)
class Region:
    """A part of a mask: `mask` bool `(k, j, i)` inside the volume's `window`."""

    window: Window
    mask: BoolArray

    def to_volume(self, local: NDArray[np.intp]) -> Index:
        """An index inside `mask` as an index of the volume."""
        k, j, i = (int(a) + w.start for a, w in zip(local, self.window, strict=True))
        return k, j, i


def bounding_window(mask: BoolArray, margin: int = 0) -> Window | None:
    """The smallest window that holds the true voxels, grown by `margin` and cut to the volume; None if empty."""
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
    if missing is not None and (excess is None or missing.mask.sum() >= excess.mask.sum()):
        return missing, True
    return (excess, False) if excess is not None else None


def inner_point(region: Region, rng: Rng | None = None) -> Index:
    """The point deepest inside a region or, with `rng`, a random one at 0.4 of that depth or more."""
    depth = ndimage.distance_transform_edt(np.pad(region.mask, 1))[1:-1, 1:-1, 1:-1]
    if rng is None:
        return region.to_volume(np.array(np.unravel_index(depth.argmax(), depth.shape)))
    deep = np.argwhere(depth >= 0.4 * depth.max())
    return region.to_volume(deep[rng.integers(len(deep))])


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


def coarse_mask(truth: BoolArray, zoom: float) -> BoolArray:
    """A mask as it comes back from a view `zoom` times as wide."""
    few = [max(2, round(n / zoom)) for n in truth.shape]
    down = [m / n for m, n in zip(few, truth.shape, strict=True)]
    small = ndimage.zoom(truth.astype(np.float32), down, order=1, grid_mode=True, mode="nearest") >= 0.5
    up = [n / m for m, n in zip(few, truth.shape, strict=True)]
    return np.asarray(ndimage.zoom(small.astype(np.float32), up, order=1, grid_mode=True, mode="nearest") >= 0.5)


def _ball(radius: int) -> FloatArray:
    """A ball, 1 at its centre and falling towards the rim like the session's own point."""
    axis = np.arange(-radius, radius + 1)
    squared = (np.stack(np.meshgrid(axis, axis, axis, indexing="ij")) ** 2).sum(0)
    depth = ndimage.distance_transform_edt(squared <= radius**2)
    return np.asarray(depth / depth.max(), np.float32)


@cache
def point_profile(radius: int, zoom: float) -> FloatArray:
    """What a point looks like in a view that is `zoom` times as wide: widened, then shrunk by area; odd sides."""
    if zoom == 1:
        return _ball(radius)
    half = radius + round(zoom) + 1
    side = 2 * round(half / zoom) + 1
    large = torch.zeros(1, 1, *[round(side * zoom)] * 3)
    start = (large.shape[2] - 2 * radius - 1) // 2
    window = slice(start, start + 2 * radius + 1)
    large[0, 0, window, window, window] = torch.from_numpy(_ball(radius))
    for _ in range(_nearest_odd(zoom * 2 - 1) // 2):
        large = max_pool3d(large, 3, 1, 1)
    return np.asarray(interpolate(large, [side] * 3, mode="area")[0, 0].numpy(), np.float32)


def _nearest_odd(value: float) -> int:
    """As the library rounds the size of its dilation."""
    up = ceil(value)
    return up if up % 2 else up - 1 if up != value else up + 1


class Canvas:
    """The prompt channels of one volume, `(channel, k, j, i)`, with the previous mask in one of them.

    The volume is what a view of `zoom` sees, already shrunk; prompts look on it as the session shrinks them.
    """

    def __init__(self, layout: Layout, shape: tuple[int, ...], zoom: float = 1.0) -> None:
        self.layout = layout
        self.channels = np.zeros((layout.channels, *shape), np.float32)
        self.strength = 1.0
        self.zoom = zoom

    @property
    def previous(self) -> FloatArray:
        """The previous mask as 0 and 1, `(k, j, i)`; a view, so writing to it changes the canvas."""
        channel: FloatArray = self.channels[self.layout.previous]
        return channel

    def add_point(self, index: Index, positive: bool) -> None:
        """Draw a click."""
        self.strength /= self.layout.decay
        profile = point_profile(self.layout.radius, self.zoom)
        radius = profile.shape[0] // 2
        channel = self.channels[self.layout.points[0 if positive else 1]]
        low = [max(0, a - radius) for a in index]
        high = [min(n, a + radius + 1) for a, n in zip(index, channel.shape, strict=True)]
        there = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        here = tuple(slice(a - c + radius, b - c + radius) for a, b, c in zip(low, high, index, strict=True))
        channel[there] = np.maximum(channel[there], profile[here] * self.strength)

    def add_drawing(self, kind: Drawing, region: Region, positive: bool) -> None:
        """Draw a filled box or lasso, or a scribble."""
        self.strength /= self.layout.decay
        view = self.channels[self.layout.drawings[kind][0 if positive else 1]][region.window]
        view[region.mask] = self.strength if kind == "scribble" else self.strength / self.zoom

    def view(self, image: FloatArray, centre: Index, patch: Index) -> FloatArray:
        """What the session feeds the network for the patch around a voxel: float32 `(1 + channels, *patch)`."""
        out = np.zeros((1 + self.layout.channels, *patch), np.float32)
        out[0] = padded_crop(image, centre, patch)
        for channel in range(self.layout.channels):
            crop = padded_crop(self.channels[channel], centre, patch)
            out[1 + channel] = crop if channel == self.layout.previous else crop / self.strength
        return out

    def paste(self, prediction: NDArray[np.generic], centre: Index) -> None:
        """Write a prediction `(k, j, i)` for the patch around a voxel as the previous mask."""
        there, here = _overlap(self.previous.shape, centre, cast(Index, prediction.shape))
        self.previous[there] = prediction[here]


def padded_crop(volume: NDArray[np.generic], centre: Index, patch: Index) -> FloatArray:
    """The patch around a voxel of a volume `(k, j, i)` as float32, zero where it reaches outside."""
    there, here = _overlap(volume.shape, centre, patch)
    out = np.zeros(patch, np.float32)
    out[here] = volume[there]
    return out


def _overlap(shape: tuple[int, ...], centre: Index, patch: Index) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where the patch around a voxel lies in a volume, and which part of the patch that is."""
    low = [c - n // 2 for c, n in zip(centre, patch, strict=True)]
    there = tuple(slice(max(0, a), max(0, min(n, a + m))) for a, n, m in zip(low, shape, patch, strict=True))
    return there, tuple(slice(w.start - a, w.stop - a) for w, a in zip(there, low, strict=True))
