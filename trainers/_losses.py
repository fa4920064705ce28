"""Cross entropy plus soft Dice, ignoring voxels of unknown label."""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from trainers._patches import UNKNOWN


def multiclass(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """For exclusive classes: `logits` `(batch, class, ...)`, `label` int64 `(batch, ...)` with 255 for unknown."""
    known = label != UNKNOWN
    entropy = cross_entropy(logits, torch.where(known, label, -1), ignore_index=-1, reduction="sum")
    probability = logits.softmax(1) * known[:, None]
    target = one_hot(label * known, logits.shape[1]).movedim(-1, 1) * known[:, None]
    return entropy / known.sum().clamp(min=1) + _dice(probability[:, 1:], target[:, 1:])


def binary(logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """For one structure: `logits`, bool `target` and bool `known`, all `(batch, 1, ...)`."""
    entropy = binary_cross_entropy_with_logits(logits, target.float(), reduction="none") * known
    return entropy.sum() / known.sum().clamp(min=1) + _dice(logits.sigmoid() * known, target * known)


def _dice(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Over the whole batch at once, so that a patch without the structure doesn't count as a failure."""
    axes = [0, *range(2, probability.ndim)]
    overlap = (2 * (probability * target).sum(axes) + 1) / (probability.sum(axes) + target.sum(axes) + 1)
    return (1 - overlap).mean()
