"""SimpleITK as an independent reader and writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from app.core.volume import Geometry


def image(voxels: NDArray[np.generic], geometry: Geometry) -> sitk.Image:
    made = sitk.GetImageFromArray(voxels)
    made.SetSpacing(geometry.spacing)
    made.SetOrigin(geometry.origin)
    made.SetDirection(geometry.direction.ravel().tolist())
    return made


def read(path: Path) -> tuple[NDArray[np.generic], Geometry]:
    return of(sitk.ReadImage(str(path)))


def read_series(folder: Path) -> tuple[NDArray[np.generic], Geometry]:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return of(reader.Execute())


def of(made: sitk.Image) -> tuple[NDArray[np.generic], Geometry]:
    voxels = sitk.GetArrayFromImage(made)
    return voxels, Geometry.from_itk(voxels.shape, made.GetSpacing(), made.GetOrigin(), made.GetDirection())
