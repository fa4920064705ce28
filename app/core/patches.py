"""Where a prediction that consists of patches may end early: between two of them."""

from __future__ import annotations

from typing import Protocol


class Patches(Protocol):
    """The patches of one prediction. The session that predicts asks before each patch, the first included."""

    def begin(self, *, divisible: bool) -> bool:
        """Whether to go on with another patch.

        False ends the prediction with what the patches so far have shown; never before the first, and only if the
        prediction is `divisible`, which means that the same number of patches always gives the same mask. Raises
        `app.errors.Cancelled` if the whole prediction is to be taken back.
        """


class EveryPatch:
    """`Patches` of a prediction that nothing ends."""

    def begin(self, *, divisible: bool) -> bool:
        """See `Patches.begin`."""
        return True
