"""What the models that ITKIT clients load have in common."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.models.itkit.grey_window import GreyHint, GreyWindow


class Engine(Protocol):
    """A network that gives every voxel of an image a class number. Thread-safe.

    `grey` is the window that the model itself recommends. `on_device`: it computes on this server's device, so it runs
    on the device thread; else it computes elsewhere, and whoever waits for it keeps nobody from the device.
    """

    grey: GreyHint
    on_device: bool

    @property
    def loaded(self) -> bool: ...

    def label(
        self, image: NDArray[np.generic], grey: GreyWindow | None, *, force_cpu: bool = False
    ) -> NDArray[np.uint8]:
        """Class numbers, uint8, in the shape of `image`. Raises `BadFile`, `ResourceExhausted`, `BadInput`."""
