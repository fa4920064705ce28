"""A window of grey values, as a radiologist sets it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import BadOption

_LARGEST = 1e9


@dataclass(frozen=True)
class GreyWindow:
    """`level` is the middle of the window, `width` its extent, both in the image's own values.

    Raises `BadOption` for what is no window. A level of 0 is one.
    """

    level: float
    width: float

    def __post_init__(self) -> None:
        if not (abs(self.level) <= _LARGEST and 0 < self.width <= _LARGEST):
            raise BadOption(f"a window needs a level and a width above 0, not {self.level:g} and {self.width:g}")

    def scaled(self, voxels: NDArray[np.generic]) -> NDArray[np.float32]:
        """`voxels` clipped to the window and brought to 0..1 (docs/protocols/itkit.md, section 4)."""
        low = self.level - self.width / 2
        clipped = np.clip(voxels.astype(np.float32), low, self.level + self.width / 2)
        clipped -= low
        clipped /= self.width
        return clipped


@dataclass(frozen=True)
class GreyHint:
    """What is known of a window; None where it isn't."""

    level: float | None = None
    width: float | None = None

    def over(self, other: GreyHint) -> GreyHint:
        """This hint, and where it says nothing, the other. A level of 0 says something."""
        return GreyHint(
            self.level if self.level is not None else other.level, self.width if self.width is not None else other.width
        )

    def window(self) -> GreyWindow | None:
        """The window, if both are known. Raises `BadOption` as `GreyWindow`."""
        return GreyWindow(self.level, self.width) if self.level is not None and self.width is not None else None
