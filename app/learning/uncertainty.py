"""A model's uncertainty about a case, as numbers. Pure.

Not a mean over all voxels, which decreases with the amount of air around the patient, but over the most uncertain
voxels in and around predicted structures (aggregation matters more than the measure: Kahl et al., ICLR 2024, arXiv
2401.08501).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOP_SHARE = 0.05
"""The share of voxels in and around predicted structures, the most uncertain ones, that is averaged."""
NEARLY_FOUND = 0.1
"""The probability of a structure from which a voxel is included although another class was predicted."""
MARGIN = 2
"""The margin around predicted structures, in voxels."""
SLICES = 5


@dataclass(frozen=True)
class Summary:
    """`value` is 0..1 (1: all classes equally likely). `slices` are the most uncertain slices of the case, in
    descending order."""

    value: float
    per_class: Mapping[str, float]
    slices: tuple[int, ...]


def entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """The entropy of probabilities `(class, k, j, i)`, divided by the logarithm of the number of classes: 0..1,
    `(k, j, i)`."""
    total = np.zeros(probabilities.shape[1:], np.float32)
    for chance in probabilities:
        total -= chance * np.log(np.maximum(chance, 1e-12))
    total /= np.float32(np.log(probabilities.shape[0]))
    return np.clip(total, 0, 1)


def mutual_information(
    members: Iterable[NDArray[np.float32]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`(information, mean)`: the disagreement of the members, probabilities `(class, k, j, i)` each, and their mean.

    The entropy of the mean minus the mean of the entropies (Houlsby et al., arXiv 1112.5745), 0..1 as `entropy`: 0
    where all members agree, however uncertain each of them is. Raises `ValueError` without members.
    """
    count, mean, unsure = 0, None, None
    for probabilities in members:
        count += 1
        own = entropy(probabilities)
        mean = probabilities.copy() if mean is None else mean + probabilities
        unsure = own if unsure is None else unsure + own
    if mean is None or unsure is None:
        raise ValueError("mutual information is between at least one member")
    mean /= count
    return np.maximum(entropy(mean) - unsure / count, 0), mean


def summarise(
    uncertainty: NDArray[np.float32], probabilities: NDArray[np.float32], labels: Sequence[str], depth: int
) -> Summary:
    """One value for a case, one per structure, and the most uncertain slices.

    `uncertainty` `(k, j, i)` and `probabilities` `(class, k, j, i)` lie on the model's grid; the case has `depth`
    slices. If no structure has a probability above `NEARLY_FOUND` anywhere, the whole case is used.
    """
    from scipy.ndimage import binary_dilation

    found = probabilities.argmax(axis=0)
    area = np.zeros(found.shape, bool)
    per_class = {}
    for number, name in enumerate(labels, start=1):
        own = binary_dilation(found == number, iterations=MARGIN) | (probabilities[number] > NEARLY_FOUND)
        per_class[name] = _top_mean(uncertainty[own])
        area |= own
    if not area.any():
        area[:] = True
    by_slice = np.where(area, uncertainty, 0).sum(axis=(1, 2))
    worst = np.argsort(-by_slice, kind="stable")[:SLICES]
    slices = [min(depth - 1, int((k + 0.5) * depth / len(by_slice))) for k in worst if by_slice[k] > 0]
    return Summary(_top_mean(uncertainty[area]), per_class, tuple(dict.fromkeys(slices)))


def where_to_look(slices: Sequence[int]) -> str:
    """The range of some slices, counted from 1 in the order of the case's voxels, in words."""
    low, high = min(slices, default=0) + 1, max(slices, default=0) + 1
    return f"slice {low}" if low == high else f"slices {low} to {high}"


def _top_mean(values: NDArray[np.float32]) -> float:
    """The mean of the highest `TOP_SHARE` of the values, of at least one; 0 without values."""
    if values.size == 0:
        return 0.0
    count = max(1, round(TOP_SHARE * values.size))
    return float(np.partition(values, values.size - count)[-count:].mean(dtype=np.float64))
