"""Guard for the demo model: decide whether what a click did to the mask is plausible, and take back what is not.

The demo model is small and was trained on synthetic phantoms only, so a corrective click sometimes runs away: it
floods the background or eats a good mask. This module looks at the mask before and after a click and at the clicks
so far, never at a ground truth. It is used for the demo model only: official nnInteractive models run unguarded, so
that their results stay equal to those of the bare library, bit by bit.

The rule for a click that follows an earlier mask:

* An including click is there to add, an excluding one to remove, where it was made. Changes in the other direction
  and changes not connected to the surroundings of the click pass while they are few; otherwise they are dropped and
  the rest is kept.
* The clicked voxel must end up on its side. If the network leaves it, the voxels right under the click are set, so
  that no click is without effect and the next one comes somewhere else.
* The voxels clicked before must stay on their side, and the mask must not grow or shrink beyond fixed factors. A
  change that breaks this even after dropping is taken back, but for the voxels right under the click.

The first click has nothing to protect and is always accepted.

The adapter copies the target buffer, runs the session's prompt and calls :func:`apply_guard` with the copy. For a
scribble, pass one of its middle voxels as the click.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
Index = tuple[int, int, int]

CLICK_RADIUS = 4
"""Changes that come this close to the click belong to it, in voxels."""

TOUCH_RADIUS = 1
"""How far the voxels right under a click reach from it."""

STRAY_SHARE = 0.03
"""Stray changes up to this share of the earlier mask pass."""

GROWTH_LIMIT = 4.0
SHRINK_LIMIT = 0.25
"""A correction may at most multiply the size of the mask by the first and must leave the second of it."""

SMALL_MASK = 500
"""Masks smaller than this many voxels are measured against this size when they grow."""


class Verdict(Enum):
    """What became of a change."""

    ACCEPTED = "accepted"
    RESTRICTED = "restricted"
    TOUCHED = "touched"
    """Nothing but the voxels right under the click has changed."""


@dataclass(frozen=True)
class Click:
    """A click on voxel ``index`` (k, j, i), including or excluding."""

    index: Index
    positive: bool


def _sweep(reached: BoolArray, mask: BoolArray) -> None:
    """Spread ``reached`` inside ``mask`` along the first axis, there and back, in place."""
    count = len(reached)
    for here, source in [(n, n - 1) for n in range(1, count)] + [(n, n + 1) for n in range(count - 2, -1, -1)]:
        reached[here] |= reached[source] & mask[here]


def connected_to(mask: BoolArray, seeds: BoolArray) -> BoolArray:
    """The parts of ``mask`` (k, j, i) that share a face, directly or through others, with its ``seeds`` voxels."""
    reached = mask & seeds
    size = -1
    while size != (size := int(reached.sum())):
        for axis in range(3):
            _sweep(np.moveaxis(reached, axis, 0), np.moveaxis(mask, axis, 0))
    return reached


def _ball(shape: tuple[int, ...], centre: Index, radius: int) -> BoolArray:
    """True within ``radius`` of ``centre`` on a grid of a given shape."""
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    inside = sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) <= radius**2
    return np.asarray(inside, np.bool_)


def _obeys(mask: BoolArray, clicks: Sequence[Click]) -> bool:
    """Whether every click that lies inside the window is on its side of the mask."""
    return all(
        bool(mask[click.index]) == click.positive
        for click in clicks
        if all(0 <= a < n for a, n in zip(click.index, mask.shape, strict=True))
    )


def review(before: BoolArray, after: BoolArray, clicks: Sequence[Click], size: int) -> tuple[Verdict, BoolArray]:
    """Judge a change inside a window (k, j, i); returns the verdict and the mask to use there.

    ``clicks`` are all clicks so far in window coordinates, the newest last; ``size`` is the number of voxels of the
    whole mask before, which may reach beyond the window.
    """
    if size == 0:
        return Verdict.ACCEPTED, after
    newest = clicks[-1]
    change = before ^ after
    wanted = after & change if newest.positive else before & change
    own = connected_to(wanted, _ball(change.shape, newest.index, CLICK_RADIUS))
    stray = change & ~own
    verdict, result = Verdict.ACCEPTED, after
    if int(stray.sum()) > STRAY_SHARE * size:
        verdict, result = Verdict.RESTRICTED, before ^ own
    touch = _ball(change.shape, newest.index, TOUCH_RADIUS)
    if bool(result[newest.index]) != newest.positive:
        verdict, result = Verdict.RESTRICTED, _set(result, touch, newest.positive)
    new_size = size + int(result.sum()) - int(before.sum())
    fits = SHRINK_LIMIT * size <= new_size <= GROWTH_LIMIT * max(size, SMALL_MASK)
    if not fits or not _obeys(result, clicks):
        return Verdict.TOUCHED, _set(before, touch, newest.positive)
    return verdict, result


def _set(mask: BoolArray, where: BoolArray, value: bool) -> BoolArray:
    """A copy of a mask with some voxels set to a value."""
    return mask | where if value else mask & ~where


def apply_guard(
    session: Any, before: NDArray[Any], changed: Sequence[Sequence[int]] | None, clicks: Sequence[Click]
) -> Verdict:
    """Review what a session's last prompt did and set the session right if need be.

    ``before`` is a copy of the target buffer from before the prompt, ``changed`` the box the session returned
    (``[[k0, k1], [j0, j1], [i0, i1]]``) and ``clicks`` all clicks so far in volume coordinates, the newest last.

    What is not accepted as it is is written over the session's previous mask and target buffer; the click stays and the
    session's own undo still goes back to before it.
    """
    if changed is None:
        return Verdict.ACCEPTED
    import torch

    window = tuple(slice(low, high) for low, high in changed)
    local = [
        Click((c.index[0] - changed[0][0], c.index[1] - changed[1][0], c.index[2] - changed[2][0]), c.positive)
        for c in clicks
    ]
    size = int(np.count_nonzero(before))
    verdict, mask = review(before[window] > 0, np.asarray(session.target_buffer[window]) > 0, local, size)
    if verdict is not Verdict.ACCEPTED:
        box = [list(side) for side in changed]
        part = torch.from_numpy(mask.astype(np.uint8))
        session._paste_interactions(session._get_prev_seg_channel(), part.half(), box, record_undo=False)
        session._paste_prediction_to_target_buffer(part, box, record_undo=False)
    return verdict
