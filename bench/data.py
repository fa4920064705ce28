"""What is measured on: a CT series of a phantom, and masks of blobs as large as organs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from app.core.mask import Mask
from app.core.volume import Geometry
from tests.dicom.synthetic import ct_series, write_series

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Plan:
    """What a run is asked for. `folder` is a temporary one for everything that is written; `shape` is `(k, j, i)`."""

    shape: Shape
    folder: Path
    quick: bool
    asked: int | None

    def repeats(self, usual: int, quick: int = 2) -> int:
        """How often to repeat: as asked, else as usual."""
        return self.asked or (quick if self.quick else usual)

    def new_folder(self, name: str) -> Path:
        """A folder that nobody has used."""
        number = sum(1 for _ in self.folder.glob(f"{name}-*"))
        folder = self.folder / f"{name}-{number}"
        folder.mkdir(parents=True)
        return folder


@dataclass(frozen=True, eq=False)
class Series:
    """A series as files in `folder`, with the voxels (HU) and the grid that a reader must find."""

    folder: Path
    study_uid: str
    series_uid: str
    voxels: NDArray[np.int16]
    geometry: Geometry

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.dcm"))


def ct(plan: Plan) -> Series:
    """A CT series of 12 bits with noise of 12 HU, made when first asked for."""
    folder = plan.folder / "ct"
    truth_file = plan.folder / "ct.npz"
    if not truth_file.exists():
        datasets, truth = ct_series(plan.shape)
        write_series(datasets, folder)
        uids = [str(datasets[0].StudyInstanceUID), str(datasets[0].SeriesInstanceUID)]
        np.savez(truth_file, voxels=truth.voxels, affine=truth.geometry.affine, uids=uids)
    kept = np.load(truth_file)
    study, series = (str(uid) for uid in kept["uids"])
    return Series(folder, study, series, kept["voxels"], Geometry(plan.shape, kept["affine"]))


def blobs(shape: Shape, count: int, shift: int = 0) -> NDArray[np.uint8]:
    """A labelmap of `count` ellipsoids within the phantom's body, each the share of the slices that organs have in
    whole-body label sets: 40 % where few are labelled, a quarter where many are. `shift` moves all, for new content."""
    labelmap = np.zeros(shape, np.uint8)
    rng = np.random.default_rng(count)
    tall, wide = (0.2, 0.13) if count <= 5 else (0.12, 0.07)
    radii = np.maximum(np.array([tall * shape[0], wide * shape[1], wide * shape[2]]), 1.5)
    columns = int(np.ceil(np.sqrt(count)))
    for number in range(1, count + 1):
        row, column = divmod(number - 1, columns)
        place = np.array(
            [rng.uniform(0.15, 0.85), 0.25 + 0.5 * (row + 0.5) / columns, 0.2 + 0.6 * (column + 0.5) / columns]
        )
        centre = place * shape + [0, 0, shift]
        low = np.maximum(np.floor(centre - radii), 0).astype(int)
        high = np.minimum(np.ceil(centre + radii) + 1, shape).astype(int)
        k, j, i = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        inside = sum(((x - c) / r) ** 2 for x, c, r in zip((k, j, i), centre, radii, strict=True)) <= 1
        labelmap[low[0] : high[0], low[1] : high[1], low[2] : high[2]][inside] = number
    return labelmap


def mask(labelmap: NDArray[np.uint8], count: int, geometry: Geometry) -> Mask:
    return Mask.single(labelmap, names(count), geometry)


def names(count: int) -> list[str]:
    return [f"structure {number}" for number in range(1, count + 1)]


def write_nifti(labelmap: NDArray[np.uint8], geometry: Geometry, file: Path) -> Path:
    """A labelmap as Slicer saves it."""
    image = sitk.GetImageFromArray(labelmap)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction.ravel().tolist())
    sitk.WriteImage(image, str(file), useCompression=True)
    return file
