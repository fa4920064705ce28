"""Voxels and their geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Index = tuple[int, int, int]
"""A voxel index `(k, j, i)`: slice, row, column."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """A voxel grid in the patient.

    `shape` is `(k, j, i)`: slices, rows, columns. `affine` is 4x4 float64 and maps the homogeneous voxel index
    `(i, j, k, 1)` to LPS millimetres (DICOM PS3.3 C.7.6.2.1.1): column 0 is the step between columns, column 1 between
    rows, column 2 between slices. The slice step need not be orthogonal to the others (gantry tilt). Raises
    `ValueError` for an affine that isn't 4x4 and finite, and for sizes that aren't three positive numbers.
    """

    shape: Index
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError("an affine is a finite 4x4 matrix")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"a volume has three positive sizes, not {self.shape}")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @classmethod
    def from_itk(
        cls, shape: Index, spacing: Sequence[float], origin: Sequence[float], direction: Sequence[float]
    ) -> Geometry:
        """From ITK's terms: `spacing` and `origin` in `(i, j, k)` order, `direction` 9 numbers row by row."""
        affine = np.eye(4)
        affine[:3, :3] = np.asarray(direction, float).reshape(3, 3) * np.asarray(spacing, float)
        affine[:3, 3] = origin
        return cls(shape, affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxel centres along `(i, j, k)`."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def origin(self) -> tuple[float, float, float]:
        """LPS millimetres of the centre of voxel `(0, 0, 0)`."""
        x, y, z = self.affine[:3, 3]
        return float(x), float(y), float(z)

    @property
    def direction(self) -> NDArray[np.float64]:
        """3x3; columns are the unit steps along i, j, k."""
        return np.asarray(self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_count(self) -> int:
        """The number of voxels."""
        k, j, i = self.shape
        return k * j * i

    def to_patient(self, index: Sequence[float]) -> tuple[float, float, float]:
        """The LPS millimetres of a voxel index `(k, j, i)`."""
        k, j, i = index
        x, y, z = self.affine[:3, :3] @ np.array([i, j, k], float) + self.affine[:3, 3]
        return float(x), float(y), float(z)

    def difference(self, other: Geometry, tolerance: float = 1e-3) -> str | None:
        """Why `other` isn't the same grid, as text for users; None if it is. `tolerance` is in voxels.

        Compares the positions of the eight corner voxels, so an error in direction counts by the distance it causes.
        """
        if self.shape != other.shape:
            return f"size is {_size(other.shape)}, expected {_size(self.shape)} (columns x rows x slices)"
        k, j, i = (n - 1 for n in self.shape)
        corners = [(c, b, a) for c in (0, k) for b in (0, j) for a in (0, i)]
        offset = max(float(np.linalg.norm(np.subtract(self.to_patient(c), other.to_patient(c)))) for c in corners)
        if offset > tolerance * min(self.spacing):
            return (
                f"the voxels lie up to {offset:.3g} mm apart (origin {_mm(other.origin)}, expected {_mm(self.origin)};"
                f" spacing {_mm(other.spacing)}, expected {_mm(self.spacing)})"
            )
        return None


def _size(shape: Index) -> str:
    return " x ".join(str(n) for n in reversed(shape))


def _mm(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{v:.3f}" for v in values) + ")"


@dataclass(frozen=True, eq=False)
class Volume:
    """The voxels of a case, `(k, j, i)`, with their geometry.

    For DICOM, k ascends with the projection of ImagePositionPatient on row x column, and voxels are the modality's
    values (HU for CT) after rescale. `warnings` list repairs and unusual properties of the source. Raises `ValueError`
    if the shapes differ.
    """

    voxels: NDArray[np.generic]
    geometry: Geometry
    modality: str = ""
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.voxels.shape != self.geometry.shape:
            raise ValueError(f"voxels are {self.voxels.shape}, the geometry says {self.geometry.shape}")


@dataclass(frozen=True)
class SourceSlice:
    """A slice's instance, "" for an interpolated slice. `position` is that of its first voxel in LPS millimetres. With
    `frames` the instance has several slices, and is listed once."""

    sop_instance_uid: str
    position: tuple[float, float, float]
    frames: bool = False
