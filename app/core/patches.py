"""Where a prediction that consists of patches may end early: between two of them."""

from __future__ import annotations

from typing import Protocol


class Patches(Protocol):
    """The patches of one prediction. The session that predicts asks before each patch, the first included."""

    def begin(self, most: int | None) -> bool:
        """Whether to go on with another patch.

        `most` is the largest number of patches that the prediction may look at; then the same number of patches always
        gives the same mask, and False ends the prediction with what those so far have shown, though never before the
        first. Without a limit (None) it can't be divided, and the answer is always true. Raises `app.errors.Cancelled`
        if the whole prediction is to be taken back.
        """


class EveryPatch:
    """`Patches` of a prediction that nothing ends."""

    def begin(self, most: int | None) -> bool:
        """See `Patches.begin`."""
        return True
