"""Voxels that belong to named segments."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Geometry

Algorithm = Literal["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"]


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float | None:
    """`2 |A and B| / (|A| + |B|)` of two masks of one shape (Dice 1945), 0..1; None if both are empty."""
    size = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 2 * int(np.count_nonzero(one & other)) / size if size else None


@dataclass(frozen=True)
class Code:
    """A coded concept (DICOM PS3.3 8.8): value, coding scheme, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Segment:
    """One structure of a mask. `number` counts from 1 without gaps; `layer` says which layer holds its voxels."""

    number: int
    name: str
    layer: int = 0
    category: Code | None = None
    type: Code | None = None
    color: tuple[int, int, int] | None = None
    algorithm: Algorithm = "SEMIAUTOMATIC"
    algorithm_name: str = ""
    tracking_uid: str = ""


@dataclass(frozen=True, eq=False)
class Mask:
    """Segments over one voxel grid.

    `layers` are integer arrays `(k, j, i)` of segment numbers, 0 for background. Segments that overlap lie in different
    layers; most masks have one layer. A segment may be empty. Raises `ValueError` if these don't fit together.
    """

    layers: tuple[NDArray[np.unsignedinteger], ...]
    segments: tuple[Segment, ...]
    geometry: Geometry

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("a mask has at least one layer")
        for layer in self.layers:
            if layer.shape != self.geometry.shape:
                raise ValueError(f"a layer is {layer.shape}, the geometry says {self.geometry.shape}")
        if [s.number for s in self.segments] != list(range(1, len(self.segments) + 1)):
            raise ValueError("segments are numbered from 1 without gaps, in order")
        if any(not 0 <= s.layer < len(self.layers) for s in self.segments):
            raise ValueError("a segment names a layer that doesn't exist")

    @classmethod
    def single(cls, labelmap: NDArray[np.unsignedinteger], names: list[str], geometry: Geometry) -> Mask:
        """A one-layer mask from a labelmap whose values are 1-based positions in `names`."""
        segments = tuple(Segment(number, name) for number, name in enumerate(names, start=1))
        return cls((labelmap,), segments, geometry)

    def voxels_of(self, number: int) -> NDArray[np.bool_]:
        """The voxels of one segment, bool `(k, j, i)`."""
        segment = self.segments[number - 1]
        return np.asarray(self.layers[segment.layer] == number)

    @property
    def sha256(self) -> str:
        """The hex digest of the voxels."""
        digest = sha256()
        for layer in self.layers:
            digest.update(np.ascontiguousarray(layer).data)
        return digest.hexdigest()

    @property
    def overlapping(self) -> bool:
        """Whether segments may overlap: there is more than one layer."""
        return len(self.layers) > 1

    def labelmap(self) -> NDArray[np.unsignedinteger]:
        """All segments in one array `(k, j, i)`; where segments overlap, the one with the higher number wins."""
        if not self.overlapping:
            return self.layers[0]
        merged = np.zeros(self.geometry.shape, self.layers[0].dtype)
        for segment in self.segments:
            merged[self.voxels_of(segment.number)] = segment.number
        return merged

    @cached_property
    def filled(self) -> frozenset[int]:
        """The numbers of the segments that have voxels."""
        found: set[int] = set()
        for layer in self.layers:
            for plane in layer:  # slice by slice: counting needs eight bytes a voxel
                found.update(np.flatnonzero(np.bincount(plane.ravel())).tolist())
        return frozenset(found - {0})

    def keeping(self, numbers: Collection[int]) -> Mask:
        """Only these segments, renumbered in their order; the others' voxels become background."""
        kept = [s for s in self.segments if s.number in numbers]
        if len(kept) == len(self.segments):
            return self
        used = sorted({s.layer for s in kept}) or [0]
        lookup = np.zeros(len(self.segments) + 1, self.layers[0].dtype)
        lookup[[s.number for s in kept]] = np.arange(1, len(kept) + 1)
        segments = (replace(s, number=n, layer=used.index(s.layer)) for n, s in enumerate(kept, start=1))
        return Mask(tuple(lookup[self.layers[layer]] for layer in used), tuple(segments), self.geometry)

    def renamed(self, names: list[str]) -> Mask:
        """The same voxels with other segment names, by position."""
        segments = tuple(replace(s, name=n) for s, n in zip(self.segments, names, strict=True))
        return Mask(self.layers, segments, self.geometry)
