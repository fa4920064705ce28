"""From a case's voxels to a model's grid and back; the same for training and for use.

Both grids cover the same box: with n voxels of a case and m of the model along an axis, the centre of model voxel x
lies at (x + 0.5) n / m - 0.5 in the case. Everything here is plain numpy, and the same on every machine.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import Region
from app.core.training import ModelSpec
from app.core.volume import Geometry, Index, Volume
from app.errors import BadFile, BadInput


def model_shape(geometry: Geometry, spec: ModelSpec) -> Index:
    """How many voxels `(k, j, i)` the model's grid has over a case: its extent over `spec.spacing`, at least one."""
    spacing = tuple(reversed(geometry.spacing))
    wanted = [new or old for new, old in zip(spec.spacing, spacing, strict=True)]
    k, j, i = (max(1, round(n * old / new)) for n, old, new in zip(geometry.shape, spacing, wanted, strict=True))
    return k, j, i


def prepare_image(volume: Volume, spec: ModelSpec) -> NDArray[np.float32]:
    """The volume normalised and on the model's grid, float32 `(k, j, i)`. Raises `BadInput` for constant volumes."""
    image = _normalise(volume.voxels, spec.intensity)
    return resample_linear(image, model_shape(volume.geometry, spec))


def prepare_label(label: NDArray[np.uint8], geometry: Geometry, spec: ModelSpec) -> NDArray[np.uint8]:
    """A labelmap `(k, j, i)` on the model's grid by nearest neighbour: the values stay what they are."""
    return resample_nearest(label, model_shape(geometry, spec))


def labelmap_from(probabilities: NDArray[np.float32], shape: Index) -> NDArray[np.uint8]:
    """The likeliest class in each voxel of a case of `shape`, uint8 `(k, j, i)`, from probabilities
    `(class, k, j, i)` on the model's grid. Interpolated before the decision, so that borders stay smooth; class by
    class, because all classes on a large case's grid would not fit."""
    best = resample_linear(probabilities[0], shape)
    label = np.zeros(shape, np.uint8)
    for number in range(1, probabilities.shape[0]):
        rival = resample_linear(probabilities[number], shape)
        wins = rival > best
        label[wins] = number
        best = np.maximum(best, rival)
    return label


def to_model_index(index: Index, shape: Index, model: Index) -> Index:
    """The model voxel that holds the centre of a case's voxel."""
    k, j, i = (min(m - 1, int((x + 0.5) * m / n)) for x, n, m in zip(index, shape, model, strict=True))
    return k, j, i


def region_from_model(
    values: NDArray[np.float32], region: Region, model: Index, shape: Index
) -> tuple[NDArray[np.float32], Region] | None:
    """Values on a region of the model's grid, interpolated for the voxels of the case (of `shape`) whose centres lie
    inside that region; with the region they make up. None if no centre does."""
    low, high, positions = [], [], []
    for axis in range(3):
        scale = shape[axis] / model[axis]
        first = int(np.ceil(region.low[axis] * scale - 0.5))
        last = int(np.ceil(region.high[axis] * scale - 0.5))
        if last <= first:
            return None
        low.append(first)
        high.append(last)
        positions.append((np.arange(first, last) + 0.5) / scale - 0.5 - region.low[axis])
    place = Region(cast(Index, tuple(low)), cast(Index, tuple(high)))
    return _interpolate(values, positions), place


def resample_linear(array: NDArray[np.float32], shape: Index) -> NDArray[np.float32]:
    """`array` on a grid of `shape` over the same box, by trilinear interpolation (`array` itself if it has that
    shape)."""
    if array.shape == shape:
        return array
    return _interpolate(array, [_centres(n, m) for n, m in zip(array.shape, shape, strict=True)])


def resample_nearest(array: NDArray[np.uint8], shape: Index) -> NDArray[np.uint8]:
    """`array` on a grid of `shape` over the same box, by nearest neighbour."""
    if array.shape == shape:
        return array
    for axis, (n, m) in enumerate(zip(array.shape, shape, strict=True)):
        nearest = np.clip(np.floor(_centres(n, m) + 0.5).astype(np.intp), 0, n - 1)
        array = np.take(array, nearest, axis)
    return array


def _centres(n: int, m: int) -> NDArray[np.floating[Any]]:
    """Where the centres of m voxels lie among n voxels over the same length."""
    return (np.arange(m) + 0.5) * (n / m) - 0.5


def _interpolate(array: NDArray[np.float32], positions: list[NDArray[np.floating[Any]]]) -> NDArray[np.float32]:
    """Linear interpolation at `positions` along each axis; beyond the outermost centres the values go on."""
    # Axes that shrink go first: the others then have less to do.
    for axis in sorted(range(3), key=lambda a: len(positions[a]) / array.shape[a]):
        n = array.shape[axis]
        place = np.clip(positions[axis], 0, n - 1)
        below = np.floor(place).astype(np.intp)
        weight = (place - below).astype(np.float32)
        if not weight.any():
            array = np.take(array, below, axis)
            continue
        weight = weight.reshape([-1 if a == axis else 1 for a in range(3)])
        lower = np.take(array, below, axis)
        upper = np.take(array, np.minimum(below + 1, n - 1), axis)
        upper -= lower
        upper *= weight
        upper += lower
        array = upper
    return array


def _normalise(voxels: NDArray[np.generic], intensity: str) -> NDArray[np.float32]:
    """`zscore`: zero mean and unit deviation of the non-zero voxels (zero is what MR and cropped images are padded
    with); `nonzero_box`: of all voxels in the box around the non-zero ones (nnInteractive); `window:LOW:HIGH`: clipped
    and scaled to 0..1; `shift:MEAN:SCALE`: by fixed numbers (imported models)."""
    image = voxels.astype(np.float32)
    if intensity in {"zscore", "nonzero_box"}:
        mean, deviation = _mean_and_deviation(image, whole_box=intensity == "nonzero_box")
        if not (np.isfinite(mean) and np.isfinite(deviation) and deviation > 0):
            raise BadInput("the volume can't be normalised: its non-zero voxels are constant or not finite")
        image -= mean
        image /= deviation
        return image
    name, *numbers = intensity.split(":")
    if name not in {"window", "shift"} or len(numbers) != 2:
        known = "zscore, nonzero_box, window:LOW:HIGH or shift:MEAN:SCALE"
        raise BadFile(f"a model's intensity is {known}, not {intensity!r}")
    first, second = float(numbers[0]), float(numbers[1])
    if name == "window":
        np.clip(image, first, second, out=image)
    image -= first
    image /= second - first if name == "window" else second
    return image


def _mean_and_deviation(image: NDArray[np.float32], *, whole_box: bool) -> tuple[float, float]:
    if whole_box:
        box = Region.around(image != 0)
        inside = image[box.slices] if box is not None else image[:0]
        # As torch has it: in double precision and of a sample.
        return (float(inside.mean(dtype=float)), float(inside.std(dtype=float, ddof=1))) if inside.size > 1 else (0, 0)
    inside = image[image != 0]
    return (float(inside.mean()), float(inside.std())) if inside.size else (0.0, 0.0)
