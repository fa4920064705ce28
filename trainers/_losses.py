"""Cross entropy plus soft Dice, of labels that speak of some structures only."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from trainers._patches import UNKNOWN


def multiclass(logits: torch.Tensor, label: torch.Tensor, examined: torch.Tensor) -> torch.Tensor:
    """For exclusive classes: `logits` `(batch, class, ...)`, `label` int64 `(batch, ...)` with 255 for unknown.

    `examined`, bool `(batch, class)`, says which classes each label speaks of (background, class 0, among them). A
    voxel of class 0 is none of these, and may be any of the others: its probability is the sum of theirs and the
    background's (marginal loss: Fang and Yan, IEEE TMI 2020; Shi et al., Medical Image Analysis 2021). Dice is
    over the structures that are examined.
    """
    known = label != UNKNOWN
    log_probability = logits.log_softmax(1)
    shape = (*examined.shape, *[1] * (logits.ndim - 2))
    elsewhere = ~examined
    elsewhere[:, 0] = True
    background = log_probability.masked_fill(~elsewhere.reshape(shape), -torch.inf).logsumexp(1)
    target = label * known
    structure = log_probability.gather(1, target[:, None])[:, 0]
    entropy = -(torch.where(target == 0, background, structure) * known).sum() / known.sum().clamp(min=1)
    counted = known[:, None] & examined.reshape(shape)
    probability = log_probability.exp() * counted
    voxels = one_hot(target, logits.shape[1]).movedim(-1, 1) * counted
    spoken_of = examined[:, 1:].any(0)
    return entropy + _dice(probability[:, 1:][:, spoken_of], voxels[:, 1:][:, spoken_of])


def examined_classes(examined: Sequence[Collection[int]], classes: int, device: str) -> torch.Tensor:
    """`examined` of `multiclass`, from the numbers of the structures that each label of a batch speaks of."""
    found = torch.zeros(len(examined), classes, dtype=torch.bool)
    for row, numbers in zip(found, examined, strict=True):
        row[[0, *numbers]] = True
    return found.to(device)


def binary(logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """For one structure that is segmented: `logits`, bool `target` and bool `known`, all `(batch, 1, ...)`. Every known
    voxel outside of `target` is not this structure, whatever else it may be."""
    entropy = binary_cross_entropy_with_logits(logits, target.float(), reduction="none") * known
    return entropy.sum() / known.sum().clamp(min=1) + _dice(logits.sigmoid() * known, target * known)


def _dice(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Over the whole batch at once, so that a patch without the structure doesn't count as a failure. 0 without
    classes."""
    if probability.shape[1] == 0:
        return probability.sum()
    axes = [0, *range(2, probability.ndim)]
    overlap = (2 * (probability * target).sum(axes) + 1) / (probability.sum(axes) + target.sum(axes) + 1)
    return (1 - overlap).mean()
