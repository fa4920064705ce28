"""Random patches of labelled cases, with foreground oversampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from app.core.training import Sample
from app.core.volume import Index

UNKNOWN = 255
_MAX_VOXELS_KEPT = 5000  # per structure and case: enough to sample all parts of it


@dataclass(frozen=True, eq=False)
class Patch:
    """`image` float32 and `label` uint8 of one size `(k, j, i)`. `structure` is the label it was cut around, 0 if it
    was cut anywhere; `examined` as in `Sample`. Beyond the case's edge the image is 0 and the label unknown."""

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    structure: int
    examined: frozenset[int]


@dataclass
class Patches:
    """Patches of `size` from `samples`. A share `foreground` of them contains a voxel of a structure, all structures of
    a case being equally likely; the others are at random positions. With `centred` that voxel is the patch's centre,
    otherwise it is anywhere in the middle half."""

    samples: Sequence[Sample]
    size: Index
    foreground: float
    centred: bool = False
    _voxels: dict[int, dict[int, NDArray[np.int32]]] = field(default_factory=dict)

    def draw(self, rng: np.random.Generator) -> Patch:
        number = int(rng.integers(len(self.samples)))
        sample = self.samples[number]
        places = self._structures(number, sample)
        if places and rng.random() < self.foreground:
            structure = int(rng.choice(list(places)))
            middle = places[structure][rng.integers(len(places[structure]))]
            if not self.centred:
                reach = np.array(self.size) // 4
                middle = middle + rng.integers(-reach, reach + 1)
        else:
            structure = 0
            middle = rng.integers(0, sample.label.shape)
        return _cut(sample, cast(Index, tuple(int(x) for x in middle)), self.size, structure)

    def _structures(self, number: int, sample: Sample) -> dict[int, NDArray[np.int32]]:
        """A sample of voxels `(n, 3)` of each structure in a case, cached."""
        if number not in self._voxels:
            rng = np.random.default_rng(number)
            places = {}
            for structure in np.flatnonzero(np.bincount(sample.label.ravel(), minlength=UNKNOWN)[1:UNKNOWN]) + 1:
                flat = np.flatnonzero(sample.label == structure)
                some = rng.choice(flat, min(len(flat), _MAX_VOXELS_KEPT), replace=False)
                places[int(structure)] = np.stack(np.unravel_index(some, sample.label.shape), 1).astype(np.int32)
            self._voxels[number] = places
        return self._voxels[number]


def augmented(patch: Patch, rng: np.random.Generator, mirrored: bool) -> Patch:
    """The patch with random brightness, contrast and noise, and with `mirrored` random flips."""
    image = patch.image * rng.uniform(0.9, 1.1) + rng.normal(0, 0.1)
    image = image + rng.normal(0, rng.uniform(0, 0.1), image.shape)
    axes = tuple(axis for axis in range(3) if mirrored and rng.random() < 0.5)
    image, label = np.flip(image, axes), np.flip(patch.label, axes)
    return Patch(np.ascontiguousarray(image, np.float32), np.ascontiguousarray(label), patch.structure, patch.examined)


def has_left_and_right(labels: Sequence[str]) -> bool:
    """Whether mirroring would make labels wrong: a structure has a side, left or right."""
    return any(side in name.lower() for name in labels for side in ("left", "right"))


def _cut(sample: Sample, middle: Index, size: Index, structure: int) -> Patch:
    source, target = [], []
    for centre, n, m in zip(middle, sample.label.shape, size, strict=True):
        start = min(max(0, centre - m // 2), max(0, n - m))
        taken = min(n, m)
        before = (m - taken) // 2  # a case smaller than the patch lies in its middle, as in sliding windows
        source.append(slice(start, start + taken))
        target.append(slice(before, before + taken))
    image = np.zeros(size, np.float32)
    label = np.full(size, UNKNOWN, np.uint8)
    image[tuple(target)] = sample.image[tuple(source)]
    label[tuple(target)] = sample.label[tuple(source)]
    return Patch(image, label, structure, sample.examined)
