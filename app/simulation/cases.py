"""Images with the truth about them: pairs of volume files, or the CVPR 2025 challenge's npz files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Geometry, Volume
from app.errors import BadFile, GeometryMismatch

_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True, eq=False)
class Case:
    """`labels` `(k, j, i)` on the volume's grid: 0 is nothing, every other value a structure."""

    name: str
    volume: Volume
    labels: NDArray[np.integer]

    def structures(self, min_voxels: int) -> list[int]:
        """The values of the structures that have so many voxels, in order."""
        values, counts = np.unique(self.labels, return_counts=True)
        return [int(v) for v, n in zip(values, counts, strict=True) if v != 0 and n >= min_voxels]


def read_cases(images: Path, labels: Path | None) -> Iterator[Case]:
    """The cases of a file or folder of images with the file or folder of their labels, in order of their names.

    In folders the pair is found by name, whatever the endings; nnU-Net's `_0000` of an image doesn't count. A challenge
    npz holds its own labels (`gts`), or they are in a file of the same name in `labels`.

    Raises:
        BadFile: a file can't be read, or has no partner. GeometryMismatch: labels lie on another grid than their image.
    """
    found = _files(images)
    if not found:
        raise BadFile(f"{images} holds no images; they end in {', '.join((*_SUFFIXES, '.npz'))}")
    partners = _files(labels) if labels is not None else {}
    alone = labels is not None and labels.is_file() and images.is_file()
    for name, file in found.items():
        partner = next(iter(partners.values())) if alone else partners.get(name)
        if file.suffix == ".npz":
            yield _challenge(name, file, partner or file)
        elif partner is None:
            raise BadFile(f"there are no labels for {file.name} in {labels}")
        else:
            yield _pair(name, file, partner)


def _files(place: Path) -> Mapping[str, Path]:
    files = [place] if place.is_file() else sorted(place.iterdir()) if place.is_dir() else []
    names = {}
    for file in files:
        ending = next((s for s in (*_SUFFIXES, ".npz") if file.name.lower().endswith(s)), None)
        if ending is not None:
            names[file.name[: -len(ending)].removesuffix("_0000")] = file
    return names


def _pair(name: str, image: Path, labels: Path) -> Case:
    from app.formats.volume_files import read_volume

    volume, truth = read_volume(image), read_volume(labels)
    if difference := volume.geometry.difference(truth.geometry, tolerance=0.1):
        raise GeometryMismatch(f"{labels} doesn't lie on the grid of {image}: {difference}")
    values = truth.voxels.astype(np.int64)
    if (values != truth.voxels).any():
        raise BadFile(f"{labels} holds values between whole numbers; labels are whole numbers")
    return Case(name, volume, values)


def _challenge(name: str, image: Path, labels: Path) -> Case:
    """`imgs` and `gts` `(k, j, i)`, `spacing` in mm along the same axes. Boxes and clicks in it are pickles and are not
    read: boxes are made anew."""
    arrays = {}
    for key, file in {"imgs": image, "spacing": image, "gts": labels}.items():
        try:
            with np.load(file, allow_pickle=False) as content:
                arrays[key] = content[key]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise BadFile(f"{file} has no {key} that can be read: {error}") from error
    voxels, truth, spacing = arrays["imgs"], arrays["gts"], arrays["spacing"].astype(float)
    if voxels.ndim != 3 or truth.shape != voxels.shape or spacing.shape != (3,):
        raise BadFile(f"{image}: imgs has {voxels.shape} voxels, gts {truth.shape}; both need the same three sizes")
    k, j, i = voxels.shape
    geometry = Geometry((k, j, i), np.diag([spacing[2], spacing[1], spacing[0], 1.0]))
    return Case(name, Volume(voxels, geometry), truth.astype(np.int64))
