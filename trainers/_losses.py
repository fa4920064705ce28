"""Cross entropy plus soft Dice, blind to voxels of unknown label."""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from trainers._patches import UNKNOWN


def many(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """For exclusive classes: `logits` `(batch, class, ...)`, `label` int64 `(batch, ...)` with 255 for unknown."""
    known = label != UNKNOWN
    entropy = cross_entropy(logits, torch.where(known, label, -1), ignore_index=-1, reduction="sum")
    chance = logits.softmax(1) * known[:, None]
    target = one_hot(label * known, logits.shape[1]).movedim(-1, 1) * known[:, None]
    return entropy / known.sum().clamp(min=1) + _dice(chance[:, 1:], target[:, 1:])


def one(logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """For one structure: `logits`, bool `target` and bool `known`, all `(batch, 1, ...)`."""
    entropy = binary_cross_entropy_with_logits(logits, target.float(), reduction="none") * known
    return entropy.sum() / known.sum().clamp(min=1) + _dice(logits.sigmoid() * known, target * known)


def _dice(chance: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Over the whole batch at once, so that a patch without the structure doesn't count as a failure."""
    axes = [0, *range(2, chance.ndim)]
    overlap = (2 * (chance * target).sum(axes) + 1) / (chance.sum(axes) + target.sum(axes) + 1)
    return (1 - overlap).mean()
