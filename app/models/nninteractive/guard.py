"""Guard for small models: decide whether what a click did to the mask is plausible, and take back what is not.

A small model that was trained on synthetic images only sometimes runs away at a corrective click: it floods the
background or eats a good mask. This module looks at the mask before and after a click and at the clicks so far, never
at a ground truth. It is used for model folders that ask for it only: official nnInteractive models run unguarded, so
that their results stay equal to those of the bare library, bit by bit.

The rule for a click that follows an earlier mask:

* An including click is there to add, an excluding one to remove, where it was made. Changes in the other direction
  and changes not connected to the surroundings of the click pass while they are few; otherwise they are dropped and
  the rest is kept.
* The clicked voxel must end up on its side. If the network leaves it, the voxels right under the click are set, so
  that no click is without effect and the next one comes somewhere else.
* The voxels clicked before must stay on their side, and the mask must not grow or shrink beyond fixed factors. A
  change that breaks this even after dropping is taken back, but for the voxels right under the click.

The first click has nothing to protect and is accepted, but the clicked voxel ends up on its side here too. The same
holds for clicks that were noted and are predicted with a box, a lasso or on their own.

The adapter copies the target buffer, runs the session's prompt and calls :func:`apply_guard` with the copy. For a
scribble, pass one of its middle voxels as the click.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
Index = tuple[int, int, int]
Box = Sequence[Sequence[int]]

CLICK_RADIUS = 4
"""Changes that come this close to the click belong to it, in voxels."""

TOUCH_RADIUS = 1
"""How far the voxels right under a click reach from it."""

STRAY_SHARE = 0.03
"""Stray changes up to this share of the earlier mask pass."""

GROWTH_LIMIT = 30.0
SHRINK_LIMIT = 0.02
"""A correction may at most multiply the size of the mask by the first and must leave the second of it. Narrower limits
(4 and a quarter) kept first masks that were far too small or too large from being put right (docs/starter-model.md)."""

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


def connected_to(mask: BoolArray, seeds: BoolArray) -> BoolArray:
    """The parts of ``mask`` (k, j, i) that share a face, directly or through others, with its ``seeds`` voxels."""
    from scipy import ndimage

    parts, count = ndimage.label(mask)
    chosen = np.zeros(count + 1, np.bool_)
    chosen[parts[seeds]] = True
    chosen[0] = False
    return np.asarray(chosen[parts], np.bool_)


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


def review(
    before: BoolArray, after: BoolArray, clicks: Sequence[Click], size: int, fresh: int = 1
) -> tuple[Verdict, BoolArray]:
    """Judge a change inside a window (k, j, i); returns the verdict and the mask to use there.

    ``clicks`` are all clicks so far in window coordinates, the newest last; the last ``fresh`` of them were made since
    the mask before, and lie inside the window. ``size`` is the number of voxels of the whole mask before, which may
    reach beyond the window; 0 if there is nothing to protect.
    """
    earlier, newest = clicks[: len(clicks) - fresh], clicks[len(clicks) - fresh :]
    verdict, result = Verdict.ACCEPTED, after
    if size > 0:
        own = _own_changes(before, after, newest)
        if int(((before ^ after) & ~own).sum()) > STRAY_SHARE * size:
            verdict, result = Verdict.RESTRICTED, before ^ own
    touched = _touched(result, newest)
    if touched is not result:
        verdict, result = Verdict.RESTRICTED, touched
    if size > 0:
        new_size = size + int(result.sum()) - int(before.sum())
        fits = SHRINK_LIMIT * size <= new_size <= GROWTH_LIMIT * max(size, SMALL_MASK)
        if not fits or not _obeys(result, earlier):
            return Verdict.TOUCHED, _touched(before, newest, always=True)
    return verdict, result


def _own_changes(before: BoolArray, after: BoolArray, clicks: Sequence[Click]) -> BoolArray:
    """The changes that the clicks asked for: in their direction, and connected to their surroundings."""
    own = np.zeros_like(before)
    for click in clicks:
        wanted = after & ~before if click.positive else before & ~after
        own |= connected_to(wanted, _ball(before.shape, click.index, CLICK_RADIUS))
    return own


def _touched(mask: BoolArray, clicks: Sequence[Click], *, always: bool = False) -> BoolArray:
    """``mask`` with the voxels right under each click on its side; those whose clicked voxel is there already are left
    alone unless ``always``. The mask itself if there is nothing to set."""
    result = mask
    for click in clicks:
        if always or bool(result[click.index]) != click.positive:
            touch = _ball(mask.shape, click.index, TOUCH_RADIUS)
            result = result | touch if click.positive else result & ~touch
    return result


def guarded_box(changed: Box | None, clicks: Sequence[Click], shape: Index) -> Box:
    """What a session wrote to, ``[[k0, k1], [j0, j1], [i0, i1]]`` or None, widened by the voxels right under the
    clicks, within a volume of ``shape``: a session may change another place than the one that was clicked."""
    box = [list(side) for side in changed] if changed is not None else [[n, 0] for n in shape]
    for click in clicks:
        for side, at, size in zip(box, click.index, shape, strict=True):
            side[0] = min(side[0], max(0, at - TOUCH_RADIUS))
            side[1] = max(side[1], min(size, at + TOUCH_RADIUS + 1))
    return box


def apply_guard(
    session: Any,
    before: NDArray[Any],
    changed: Box | None,
    clicks: Sequence[Click],
    fresh: int = 1,
    *,
    judge: bool = True,
) -> Verdict:
    """Review what a session's last prompt did and set the session right if need be.

    ``before`` is a copy of the target buffer from before the prompt, ``changed`` the box the session returned
    (``[[k0, k1], [j0, j1], [i0, i1]]``) and ``clicks`` all clicks so far in volume coordinates, the newest last;
    ``fresh`` of them are predicted for the first time. Without ``judge`` only those are seen to.

    What is not accepted as it is is written over the session's previous mask and target buffer, inside of
    ``guarded_box``; the click stays and the session's own undo still goes back to before it.
    """
    import torch

    newest = clicks[len(clicks) - fresh :]
    box = guarded_box(changed, newest, _index(before.shape))
    low = [side[0] for side in box]
    window = tuple(slice(*side) for side in box)
    local = [Click(_index(a - b for a, b in zip(c.index, low, strict=True)), c.positive) for c in clicks]
    size = int(np.count_nonzero(before)) if judge else 0
    verdict, mask = review(before[window] > 0, np.asarray(session.target_buffer[window]) > 0, local, size, fresh)
    if verdict is not Verdict.ACCEPTED:
        widened = changed is None or box != [list(side) for side in changed]  # beyond what the session can undo
        part = torch.from_numpy(mask.astype(np.uint8))
        session._paste_interactions(session._get_prev_seg_channel(), part.half(), box, record_undo=widened)
        session._paste_prediction_to_target_buffer(part, box, record_undo=widened)
    return verdict


def _index(values: Iterable[int]) -> Index:
    k, j, i = values
    return k, j, i
