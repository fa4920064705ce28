"""One structure of a case, segmented prompt by prompt as in a session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.core.training import Sample
from app.core.volume import Index
from trainers._canvas import (
    BoolArray,
    Canvas,
    Drawing,
    FloatArray,
    Layout,
    Region,
    Rng,
    coarse_mask,
    draw_on_slice,
    inner_point,
    largest_component,
    largest_error,
    padded_crop,
)
from trainers._patches import UNKNOWN

ZOOMS = (2, 4)
"""How far the session zooms out for what is larger than a patch, where it is limited to whole numbers."""

_ZOOMED_SHARE = 0.5
_COARSE_SHARE = 0.3
_UNSURE_SHARE = 0.5
_VOXELS_KEPT = 2000
_FINE = 64


@dataclass(frozen=True)
class Habits:
    """At most `corrections` follow the first prompt; a share `drawn` of the prompts isn't a click. `varied`: other
    greys and directions, and clicks that aren't always in the very middle."""

    corrections: int
    drawn: float
    varied: bool


@dataclass(frozen=True, eq=False)
class Target:
    """A structure of a case: some of its `voxels` `(n, 3)`, and its extent in voxels along each axis."""

    structure: int
    voxels: NDArray[np.intp]
    extent: Index

    @classmethod
    def all_of(cls, sample: Sample) -> list[Target]:
        """Every structure that is segmented in a case. What is absent, or was not examined, is none."""
        rng = np.random.default_rng(0)
        found = []
        for structure in np.flatnonzero(np.bincount(sample.label.ravel(), minlength=UNKNOWN)[1:UNKNOWN]) + 1:
            voxels = np.argwhere(sample.label == structure)
            k, j, i = (int(n) + 1 for n in np.ptp(voxels, axis=0))
            some = rng.choice(len(voxels), min(len(voxels), _VOXELS_KEPT), replace=False)
            found.append(cls(int(structure), voxels[some], (k, j, i)))
        return found


class Clicking:
    """The patch around the newest prompt, what the network should answer, and the next prompt on its largest error.

    It happens in the surroundings of the first prompt, two patches wide; errors count in the middle of these, so that
    every patch is filled as in the whole image. A structure that is larger than a patch is sometimes seen from further
    away, and sometimes begins with the coarse mask that the session refines then.

    Use `view`, `target` and `absorb` in turns until it is `finished`. Arrays are of the patch `(k, j, i)`.
    """

    def __init__(self, sample: Sample, target: Target, layout: Layout, patch: Index, habits: Habits, rng: Rng) -> None:
        self.structure = target.structure
        self._patch = patch
        self._habits = habits
        self._layout = layout
        self._rng = rng
        self._left = 1 + (int(rng.integers(0, habits.corrections + 1)) if habits.varied else habits.corrections)
        self._centre: Index | None = None
        self._middle = tuple(slice(n // 2, n // 2 + n) for n in patch)

        larger = max(extent / n for extent, n in zip(target.extent, patch, strict=True))
        zoom = 1
        if larger > 1 and rng.random() < _ZOOMED_SHARE:
            zoom = next((zoom for zoom in ZOOMS if zoom >= larger), ZOOMS[-1])
        self._canvas = Canvas(layout, tuple(2 * n for n in patch), float(zoom))
        self._look_around(sample, target, zoom)
        if zoom == 1 and larger > 1 and rng.random() < _COARSE_SHARE:
            self._begin_with_a_coarse_mask()
        else:
            self._prompt()

    @property
    def finished(self) -> bool:
        return self._centre is None

    def view(self) -> FloatArray:
        """The network's input `(1 + channels, k, j, i)`."""
        return self._canvas.view(self._image, self._at, self._patch)

    def target(self) -> tuple[BoolArray, BoolArray]:
        """The structure, and where anything is known."""
        truth, known = (padded_crop(part, self._at, self._patch) > 0.5 for part in (self._truth, self._known))
        return truth, known

    def absorb(self, answer: BoolArray) -> None:
        """Take the network's mask, and go on with the next prompt, if there is one."""
        self._canvas.paste(answer, self._at)
        self._centre = None
        if self._left > 0:
            self._prompt()

    @property
    def _at(self) -> Index:
        if self._centre is None:
            raise ValueError("nothing is left to look at")
        return self._centre

    def _look_around(self, sample: Sample, target: Target, zoom: int) -> None:
        """Cut out the surroundings of a first prompt in the part of the structure around one of its voxels."""
        anywhere = target.voxels[self._rng.integers(len(target.voxels))]
        # Far enough to see a structure of a patch's size whole, and coarsely if that is many voxels.
        coarse = zoom * max(1, max(self._patch) // _FINE)
        low = [
            int(c) - min(int(c) // coarse, n * zoom // coarse) * coarse
            for c, n in zip(anywhere, self._patch, strict=True)
        ]
        there = tuple(
            slice(a, int(c) + n * zoom + 1, coarse) for a, c, n in zip(low, anywhere, self._patch, strict=True)
        )
        part = largest_component(np.asarray(sample.label[tuple(there)]) == target.structure)
        inner = inner_point(part) if part is not None else (0, 0, 0)
        corner = [a + b * coarse - n * zoom for a, b, n in zip(low, inner, self._patch, strict=True)]
        cells = [2 * n for n in self._patch]
        image = _cut(sample.image, corner, cells, zoom)
        truth = _cut(sample.label == target.structure, corner, cells, zoom) >= 0.5
        known = _cut(sample.label != UNKNOWN, corner, cells, zoom) >= 0.5
        if self._habits.varied:
            rng = self._rng
            inside = _cut(np.broadcast_to(np.float32(1), sample.image.shape), corner, cells, zoom)
            noise = rng.normal(0, rng.uniform(0, 0.1), image.shape) + rng.normal(0, 0.1)
            # Beyond the image the session has zeros, too.
            image = (image * rng.uniform(0.9, 1.1) + noise * inside).astype(np.float32)
            axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
            image, truth, known = np.flip(image, axes), np.flip(truth, axes), np.flip(known, axes)
        self._image, self._truth, self._known = np.ascontiguousarray(image, np.float32), truth, known

    def _begin_with_a_coarse_mask(self) -> None:
        """As the session refines: the patch lies somewhere on the border, with or without a prompt in it."""
        self._left = 0
        zoom = float(self._rng.choice(ZOOMS))
        self._canvas.previous[:] = coarse_mask(self._truth, zoom)
        inside = np.argwhere(self._truth[self._middle]) + [part.start for part in self._middle]
        if len(inside) == 0:
            return
        if self._rng.random() < 0.6:
            self._canvas.add_point(_index(inside[self._rng.integers(len(inside))]), True)
        step = [int(self._rng.integers(-(n // 4), n // 4 + 1)) for n in self._patch]
        near = inside[self._rng.integers(len(inside))] + step
        low, high = zip(*((part.start, part.stop - 1) for part in self._middle), strict=True)
        self._centre = _index(np.clip(near, low, high))

    def _prompt(self) -> None:
        """The next prompt, on the largest error; the end if there is none."""
        known = self._known[self._middle]
        error = largest_error(
            self._truth[self._middle] & known, np.asarray(self._canvas.previous[self._middle] > 0) & known
        )
        if error is None:
            return
        self._left -= 1
        wrong, include = error
        k, j, i = (slice(a.start + b.start, a.stop + b.start) for a, b in zip(wrong.window, self._middle, strict=True))
        region = Region((k, j, i), wrong.mask)
        kinds = sorted(self._layout.drawings)
        if kinds and self._rng.random() < self._habits.drawn:
            kind: Drawing = kinds[int(self._rng.integers(len(kinds)))]
            drawn = draw_on_slice(kind, region, self._rng)
            self._canvas.add_drawing(kind, drawn, include)
            self._centre = _index([(part.start + part.stop) // 2 for part in drawn.window])
            return
        self._centre = self._place(region)
        self._canvas.add_point(self._centre, include)

    def _place(self, region: Region) -> Index:
        unsure = self._habits.varied and self._rng.random() < _UNSURE_SHARE
        return inner_point(region, self._rng if unsure else None)


def _cut(volume: NDArray[np.generic], low: list[int], cells: list[int], zoom: int) -> FloatArray:
    """A box of a volume that begins at `low`, averaged over cells of `zoom` voxels, with 0 beyond the volume: float32
    of the shape `cells`."""
    out = np.zeros(cells, np.float32)
    source, target, padding = [], [], []
    for a, count, size in zip(low, cells, volume.shape, strict=True):
        start, stop = max(0, a), min(size, a + count * zoom)
        if stop <= start:
            return out
        first, last = (start - a) // zoom, -((a - stop) // zoom)
        source.append(slice(start, stop))
        target.append(slice(first, last))
        padding.append((start - a - first * zoom, a + last * zoom - stop))
    part = np.pad(np.asarray(volume[tuple(source)], np.float32), padding)
    if zoom > 1:
        k, j, i = (n // zoom for n in part.shape)
        part = part.reshape(k, zoom, j, zoom, i, zoom).mean(axis=(1, 3, 5))
    out[tuple(target)] = part
    return out


def _index(values: Iterable[int | np.integer[Any]]) -> Index:
    return cast(Index, tuple(int(x) for x in values))
