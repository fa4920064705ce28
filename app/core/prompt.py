"""What an annotator did. All indices are voxel indices `(k, j, i)`; regions are half-open."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Index


@dataclass(frozen=True)
class Region:
    """A box of voxels from `low` (inclusive) to `high` (exclusive), both `(k, j, i)`. Raises `ValueError` if empty."""

    low: Index
    high: Index

    def __post_init__(self) -> None:
        if any(b <= a for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"a region goes from low to high, not from {self.low} to {self.high}")

    @classmethod
    def whole(cls, shape: Index) -> Region:
        """The region of a whole volume of `shape` `(k, j, i)`."""
        """The region of a whole volume of `shape` `(k, j, i)`."""
        return cls((0, 0, 0), shape)

    @classmethod
    def around(cls, mask: NDArray[np.generic]) -> Region | None:
        """The bounding box of the non-zero voxels of `mask` `(k, j, i)`; None if there are none."""
        low, high = [], []
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            filled = np.flatnonzero(mask.any(axis=others))
            if filled.size == 0:
                return None
            low.append(int(filled[0]))
            high.append(int(filled[-1]) + 1)
        return cls((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Indexes an array `(k, j, i)` of the volume."""
        """Indexes an array `(k, j, i)` of the volume."""
        (a, b, c), (d, e, f) = self.low, self.high
        return slice(a, d), slice(b, e), slice(c, f)

    @property
    def shape(self) -> Index:
        """The size along `(k, j, i)`."""
        """The size along `(k, j, i)`."""
        (a, b, c), (d, e, f) = self.low, self.high
        return d - a, e - b, f - c

    def join(self, other: Region) -> Region:
        """The bounding box of both."""
        a, b, c = (min(x, y) for x, y in zip(self.low, other.low, strict=True))
        d, e, f = (max(x, y) for x, y in zip(self.high, other.high, strict=True))
        return Region((a, b, c), (d, e, f))

    def within(self, shape: Index) -> bool:
        """Whether it lies inside a volume of `shape` `(k, j, i)`."""
        """Whether it lies inside a volume of `shape` `(k, j, i)`."""
        return min(self.low) >= 0 and all(b <= n for b, n in zip(self.high, shape, strict=True))


@dataclass(frozen=True)
class Point:
    """A click on one voxel: part of the structure if `include`, else not part of it."""

    at: Index
    include: bool = True


@dataclass(frozen=True)
class Box:
    """A box around the structure, or with `include=False` around what isn't part of it."""

    region: Region
    include: bool = True


@dataclass(frozen=True, eq=False)
class Scribble:
    """Voxels someone painted over. `voxels` is a bool array of `region.shape`."""

    region: Region
    voxels: NDArray[np.bool_]
    include: bool = True

    def __post_init__(self) -> None:
        _check_drawn(self.region, self.voxels)


@dataclass(frozen=True, eq=False)
class Lasso:
    """A closed contour, filled.

    `voxels` is a bool array of `region.shape`: one voxel thick along one axis as most viewers draw it, thicker for a
    contour on an oblique plane, or for several at once.
    """

    region: Region
    voxels: NDArray[np.bool_]
    include: bool = True

    def __post_init__(self) -> None:
        _check_drawn(self.region, self.voxels)


@dataclass(frozen=True, eq=False)
class InitialMask:
    """A mask to start from, bool `(k, j, i)` over the whole volume. Discards all earlier prompts.

    With `refine` the model predicts over the whole mask at once, where it supports that.
    """

    voxels: NDArray[np.bool_]
    refine: bool = False


Prompt = Point | Box | Scribble | Lasso | InitialMask


@dataclass(frozen=True, eq=False)
class Edit:
    """A change of the mask by hand: within `region` it becomes `voxels`, bool of `region.shape`. Nothing is predicted;
    a model that takes a mask is given the whole one with the next prompt."""

    region: Region
    voxels: NDArray[np.bool_]

    def __post_init__(self) -> None:
        _check_drawn(self.region, self.voxels)


def _check_drawn(region: Region, voxels: NDArray[np.bool_]) -> None:
    if voxels.shape != region.shape:
        raise ValueError(f"drawn voxels are {voxels.shape}, their region is {region.shape}")


def encoded_prompt(prompt: Prompt) -> dict[str, Any]:
    """The prompt as JSON, for session logs and snapshots. Drawn voxels are packed to bits, deflated, base64-encoded."""
    if isinstance(prompt, InitialMask):
        return {"prompt": "mask", "refine": prompt.refine, "voxels": _packed(prompt.voxels)}
    if isinstance(prompt, Point):
        return {"prompt": "point", "at": prompt.at, "include": prompt.include}
    values = {"low": prompt.region.low, "high": prompt.region.high, "include": prompt.include}
    if isinstance(prompt, Box):
        return {"prompt": "box", **values}
    name = "scribble" if isinstance(prompt, Scribble) else "lasso"
    return {"prompt": name, **values, "voxels": _packed(prompt.voxels)}


def decoded_prompt(values: Mapping[str, Any], shape: Index) -> Prompt:
    """The inverse of `encoded_prompt`; `shape` `(k, j, i)` is that of the volume.

    Raises `ValueError`, `KeyError`, `TypeError`, `zlib.error` or `binascii.Error` for malformed input.
    """
    kind = values["prompt"]
    if kind == "mask":
        return InitialMask(_unpacked(values["voxels"], shape), values["refine"])
    if kind == "point":
        return Point(_index(values["at"]), values["include"])
    region = Region(_index(values["low"]), _index(values["high"]))
    if kind == "box":
        return Box(region, values["include"])
    drawn = Scribble if kind == "scribble" else Lasso
    return drawn(region, _unpacked(values["voxels"], region.shape), values["include"])


def encoded_edit(edit: Edit) -> dict[str, Any]:
    """The edit as JSON, as `encoded_prompt`."""
    return {"low": edit.region.low, "high": edit.region.high, "voxels": _packed(edit.voxels)}


def decoded_edit(values: Mapping[str, Any]) -> Edit:
    """The inverse of `encoded_edit`. Raises as `decoded_prompt`."""
    region = Region(_index(values["low"]), _index(values["high"]))
    return Edit(region, _unpacked(values["voxels"], region.shape))


def _packed(voxels: NDArray[np.bool_]) -> str:
    return base64.b64encode(zlib.compress(np.packbits(voxels).tobytes(), 1)).decode()


def _unpacked(text: str, shape: Index) -> NDArray[np.bool_]:
    count = int(np.prod(shape))
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.uint8)
    return np.unpackbits(bits, count=count).astype(bool).reshape(shape)


def _index(values: Sequence[int]) -> Index:
    k, j, i = values
    return int(k), int(j), int(i)
