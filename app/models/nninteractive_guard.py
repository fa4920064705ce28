"""Guard for the demo model: decide whether what a click did to the mask is plausible, and take back what is not.

The demo model is small and was trained on synthetic phantoms only, so a corrective click sometimes runs away: it
floods the background or eats a good mask. This module looks at the mask before and after a click and at the clicks
so far, never at a ground truth. It is used for the demo model only: official nnInteractive models run unguarded, so
that their results stay equal to those of the bare library, bit by bit.

The rule, for a click that follows an earlier mask:

* An including click may only add and an excluding click may only remove. Changes in the other direction are
  dropped, whatever their size.
* Of what is left, only the connected parts that touch the neighbourhood of the click count.
* The clicked voxel must end up on the right side, earlier included points must stay inside, earlier excluded points
  outside, and the mask must neither grow nor shrink beyond fixed factors. Otherwise the whole change is rejected.

The first click has nothing to protect and is always accepted.

The adapter calls :func:`settle` right after each session prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
Box = Sequence[Sequence[int]]
Index = tuple[int, int, int]

CLICK_RADIUS = 4
GROWTH_LIMIT = 3.0
SHRINK_LIMIT = 0.3
SMALL_CHANGE = 300


class Verdict(Enum):
    """What became of a change."""

    ACCEPTED = "accepted"
    RESTRICTED = "restricted"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Click:
    """A click on voxel ``index`` (k, j, i), including or excluding."""

    index: Index
    positive: bool


def review(before: BoolArray, after: BoolArray, clicks: Sequence[Click]) -> tuple[Verdict, BoolArray]:
    return Verdict.ACCEPTED, after


def settle(session: Any, before: NDArray[Any], changed: Box | None, clicks: Sequence[Click]) -> Verdict:
    return Verdict.ACCEPTED
