"""Volume files as SimpleITK writes them, on grids that a reader may get wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from app.core.volume import Geometry
from tests.dicom.itk import image
from tests.dicom.synthetic import grid


def turned(geometry: Geometry, *axes: int) -> Geometry:
    """The same voxels with some axes of the array (k, j, i: 0, 1, 2) counted from the other end."""
    flip = np.eye(4)
    for axis in axes:
        flip[2 - axis, 2 - axis] = -1
        flip[2 - axis, 3] = geometry.shape[axis] - 1
    return Geometry(geometry.shape, geometry.affine @ flip)


def grids(shape: tuple[int, int, int]) -> dict[str, Geometry]:
    """By name; all anisotropic but the first. Those with `reversed` or `mirrored` are left-handed."""
    oblique = grid(shape, "oblique", spacing=(0.9, 1.3, 2.7))
    return {
        "plain": grid(shape, spacing=(1.5, 1.5, 1.5)),
        "sagittal": grid(shape, "sagittal", spacing=(0.7, 1.1, 3.0)),
        "oblique": oblique,
        "reversed": turned(oblique, 0),
        "mirrored": turned(oblique, 2),
        "ras": turned(grid(shape, spacing=(0.8, 0.9, 4.0)), 1, 2),
    }


def write_volume(path: Path, voxels: NDArray[np.generic], geometry: Geometry) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image(voxels, geometry), str(path), useCompression=path.suffix != ".nii")
    return path
