"""How unsure a model is about a case, as numbers. Pure.

Never a mean over all voxels: that falls with the amount of air around the patient. What counts is the most uncertain
part of what the model found, and of what it nearly found (aggregation matters more than the measure: Kahl et al.,
ICLR 2024, arXiv 2401.08501).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOP_SHARE = 0.05
"""Of the voxels in and around what was found, the share that counts: the most uncertain ones."""
NEARLY_FOUND = 0.1
"""A structure's probability from which a voxel belongs to what was nearly found."""
MARGIN = 2
"""Voxels around what was found that belong to it."""
SLICES = 5


@dataclass(frozen=True)
class Summary:
    """`value` is 0..1 (1: every class equally likely). `slices` are the most uncertain slices of the case, the worst
    first."""

    value: float
    per_class: Mapping[str, float]
    slices: tuple[int, ...]


def entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of probabilities `(class, k, j, i)` in each voxel, divided by the logarithm of the number of classes: 0..1."""
    total = np.zeros(probabilities.shape[1:], np.float32)
    for chance in probabilities:
        total -= chance * np.log(np.maximum(chance, 1e-12))
    total /= np.float32(np.log(probabilities.shape[0]))
    return np.clip(total, 0, 1)


def mutual_information(
    members: Iterable[NDArray[np.float32]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`(information, mean)`: what the members, probabilities `(class, k, j, i)` each, disagree about, and their mean.

    The entropy of the mean less the mean of the entropies (Houlsby et al., arXiv 1112.5745), 0..1 as `entropy`: 0 where
    all say the same, however unsure each of them is. There is at least one member.
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
    """One number for a case, one per structure, and where to look first.

    `uncertainty` `(k, j, i)` and `probabilities` `(class, k, j, i)` lie on the model's grid; the case has `depth`
    slices. If nothing was found, nor nearly, the whole case counts.
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


def _top_mean(values: NDArray[np.float32]) -> float:
    """The mean of the highest `TOP_SHARE` of some values (of one at least); 0 for none."""
    if values.size == 0:
        return 0.0
    count = max(1, round(TOP_SHARE * values.size))
    return float(np.partition(values, values.size - count)[-count:].mean(dtype=np.float64))
