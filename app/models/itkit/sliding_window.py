"""A sliding window whose overlapping answers are averaged with equal weights, as ITKIT does it.

ITKIT's averages are sums in float16, divided by the number of windows that hit a voxel
(docs/protocols/itkit.md, section 4).
The same additions in the same order are made here, so that labels are the same to the voxel, but only for as many
slices as one window is deep: slices that no later window reaches are decided at once and make room. Float16 is torch's
work, which takes a tenth of numpy's time for the same values. Numpy and torch alone, for the worker process of MMEngine
models runs it in an environment of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Index
from app.errors import BadFile, ResourceExhausted

MOST_BYTES = 16 * 2**30
"""Memory for the sums of one image at most."""

_PIECE = 2**15 - 1
"""Values given to torch at once. More would be shared among threads, which wait for each other awake: on a machine that
trains at the same time that takes several times as long, on an idle one there is little to gain."""

Forward = Callable[[NDArray[np.generic]], NDArray[np.floating]]
"""From windows `(n, k, j, i)` of the image to logits `(n, class, k, j, i)` of the same size."""


@dataclass(frozen=True)
class Tiling:
    """Windows of `patch` voxels every `stride` voxels, `(k, j, i)`; `batch` of them are given to the network at once,
    the last ones repeated where there are too few."""

    patch: Index
    stride: Index
    classes: int
    batch: int = 1


def window_starts(size: int, patch: int, stride: int) -> list[int]:
    """Where windows begin along an axis of at least `patch` voxels: the last one is shifted back to end at the
    border."""
    count = -(-(size - patch) // stride) + 1
    return [min(number * stride, size - patch) for number in range(count)]


def label_by_windows(
    image: NDArray[np.generic], tiling: Tiling, forward: Forward, between: Callable[[float], None] = lambda done: None
) -> NDArray[np.uint8]:
    """The class with the largest mean logit in every voxel of `image` `(k, j, i)`; of equals, the first.

    An image smaller than a window is continued by its border voxels on both sides. `between` is called before each
    forward with what is done of 1. Raises `ResourceExhausted` for sums that would not fit, `BadFile` for a network
    whose answer has another shape than its windows.
    """
    missing = [max(p - n, 0) for n, p in zip(image.shape, tiling.patch, strict=True)]
    padding = [(total // 2, total - total // 2) for total in missing]
    padded = np.pad(image, padding, mode="edge") if any(missing) else image
    labels = _Sums(padded, tiling, forward, between).labels()
    inner = tuple(slice(before, before + n) for (before, _), n in zip(padding, image.shape, strict=True))
    return labels[inner]


class _Sums:
    """Sums of logits over as many slices as a window is deep."""

    def __init__(
        self, image: NDArray[np.generic], tiling: Tiling, forward: Forward, between: Callable[[float], None]
    ) -> None:
        import torch

        self._image, self._tiling, self._forward, self._between = image, tiling, forward, between
        self._tops, rows, columns = (
            window_starts(n, p, s) for n, p, s in zip(image.shape, tiling.patch, tiling.stride, strict=True)
        )
        self._places = list(product(rows, columns))
        k, j, i = image.shape
        # How often a voxel is hit is a product of its axes; counting voxels in a byte, as ITKIT does, wraps at 256.
        self._hits_k = _hits(k, self._tops, tiling.patch[0])
        self._hits_ji = np.outer(_hits(j, rows, tiling.patch[1]), _hits(i, columns, tiling.patch[2]))
        needed = 2 * tiling.classes * tiling.patch[0] * j * i
        if needed > MOST_BYTES:
            raise ResourceExhausted(
                f"{tiling.classes} classes on slices of {j} x {i} would take {needed >> 30} GB;"
                " use a model with smaller windows, or crop the image"
            )
        self._sums = np.zeros((tiling.classes, tiling.patch[0], j, i), np.float16)
        self._tensor = torch.from_numpy(self._sums)  # the same memory

    def labels(self) -> NDArray[np.uint8]:
        labels = np.empty(self._image.shape, np.uint8)
        for number, top in enumerate(self._tops):
            self._add_row(number, top)
            following = self._tops[number + 1] if number + 1 < len(self._tops) else len(labels)
            for k in range(following - top):
                labels[top + k] = self._decided(k, top)
            self._move(following - top)
        self._between(1.0)
        return labels

    def _add_row(self, number: int, top: int) -> None:
        """Run all windows that begin at slice `top` and add what comes out."""
        deep, high, wide = self._tiling.patch
        batch, done = self._tiling.batch, number * len(self._places)
        for first in range(0, len(self._places), batch):
            self._between((done + first) / (len(self._tops) * len(self._places)))
            some = self._places[first : first + batch]
            windows = [self._image[top : top + deep, j : j + high, i : i + wide] for j, i in some]
            answer = self._forward(np.stack(windows + windows[-1:] * (batch - len(windows))))
            if answer.shape != (batch, self._tiling.classes, deep, high, wide):
                raise BadFile(
                    f"the network answers {answer.shape} to {batch} windows of {self._tiling.patch} voxels; expected"
                    f" {self._tiling.classes} classes on as many voxels"
                )
            for logits, (j, i) in zip(answer, some, strict=False):
                self._add(logits, j, i)

    def _add(self, logits: NDArray[np.floating], j: int, i: int) -> None:
        """Logits beyond float16's range become infinite, as at ITKIT, and so do sums."""
        import torch

        high, wide = logits.shape[2:]
        size = max(1, _PIECE // (high * wide))
        totals = self._tensor.flatten(0, 1)[:, j : j + high, i : i + wide]
        added = torch.from_numpy(logits.reshape(-1, high, wide))
        for first in range(0, len(added), size):
            some = slice(first, first + size)
            totals[some].add_(added[some].half())

    def _decided(self, k: int, top: int) -> NDArray[np.uint8]:
        """The classes of slice `top + k`. Rounded to float16 before the decision, as at ITKIT: that makes ties."""
        import torch

        classes, _, rows, columns = self._sums.shape
        size = max(1, _PIECE // (classes * columns))
        hits = torch.from_numpy(self._hits_k[top + k] * self._hits_ji)
        decided = np.empty((rows, columns), np.uint8)
        for first in range(0, rows, size):
            some = slice(first, first + size)
            mean = self._tensor[:, k, some].float().div_(hits[some]).half()
            decided[some] = mean.float().numpy().argmax(axis=0)  # numpy finds the largest along a first axis faster
        return decided

    def _move(self, slices: int) -> None:
        """Forget the first `slices` slices; the others move up, one by one, for a copy of all may not fit."""
        deep = self._sums.shape[1]
        for k in range(deep - slices):
            self._sums[:, k] = self._sums[:, k + slices]
        self._sums[:, deep - slices :] = 0


def _hits(size: int, starts: list[int], patch: int) -> NDArray[np.float32]:
    hits = np.zeros(size, np.float32)
    for start in starts:
        hits[start : start + patch] += 1
    return hits
