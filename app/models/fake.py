"""Models without a network, whose results are easy to calculate by hand: for tests, and for trying out a viewer.

They implement the same protocols as the real models, so the whole server runs on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.mask import Mask
from app.core.model import InteractiveSession, ModelCard, Option, ProbabilisticModel
from app.core.progress import Progress
from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Scribble
from app.core.volume import Geometry, Volume
from app.models.checks import check_volume
from app.models.options import chosen
from app.models.registry import ModelType
from app.models.session import PromptSession


class FakeInteractive:
    """Each point fills (or, excluding, clears) a cube of `radius` voxels to each side; a box, scribble or lasso fills
    (or clears) exactly the voxels drawn. Implements `InteractiveModel`."""

    accepts: frozenset[type[Prompt]] = frozenset({Point, Box, Scribble, Lasso, InitialMask})

    def __init__(self, name: str = "fake", radius: int = 2) -> None:
        self.card = ModelCard(
            name=name,
            kind="interactive",
            description="Fills a cube around each point. Knows nothing about images; for trying things out.",
            version="1",
            licence="Apache-2.0",
            options={"radius": radius},
        )

    def open(self, volume: Volume, options: Mapping[str, Option]) -> InteractiveSession:
        """See `InteractiveModel.open`. Raises `BadInput`, `BadOption`."""
        check_volume(volume)
        radius = int(chosen(self.card, options)["radius"])

        def grow(prompts: Sequence[Prompt], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
            grown = mask.copy()
            for prompt in prompts:
                _paint(grown, prompt, radius)
            return grown

        return PromptSession(volume.geometry.shape, self.accepts, grow, self.card.version)

    def session_bytes(self, volume: Volume) -> int:
        """The mask, the next mask, and their difference: one byte per voxel each."""
        return 3 * volume.geometry.voxel_count


def _paint(mask: NDArray[np.uint8], prompt: Prompt, radius: int) -> None:
    if isinstance(prompt, Point):
        cube = tuple(slice(max(0, x - radius), x + radius + 1) for x in prompt.at)
        mask[cube] = prompt.include
    elif isinstance(prompt, Box):
        mask[prompt.region.slices] = prompt.include
    elif isinstance(prompt, Scribble | Lasso):
        mask[prompt.region.slices][prompt.voxels] = prompt.include


@dataclass(frozen=True)
class FakeAutomatic:
    """Divides the range from the darkest to the brightest voxel into equal bands: the darkest is background, the next
    the first label, and so on. Implements `ProbabilisticModel`.

    `probabilities` are a softmax over the distance to the middle of each band; a lower `sharpness` makes the model less
    certain. `earlier` is the number of snapshots, each less certain than the one after it.
    """

    labels: tuple[str, ...] = ("structure",)
    name: str = "fake-automatic"
    sharpness: float = 20.0
    earlier: int = 0

    @property
    def card(self) -> ModelCard:
        """See `AutomaticModel.card`."""
        return ModelCard(
            name=self.name,
            kind="automatic",
            description="Cuts the intensities into equal bands. Knows nothing about anatomy; for trying things out.",
            labels=self.labels,
            version="1",
            licence="Apache-2.0",
        )

    def segment(self, volume: Volume, progress: Progress, options: Mapping[str, Option]) -> Mask:
        """See `AutomaticModel.segment`. Raises `BadInput`, `BadOption`."""
        check_volume(volume)
        chosen(self.card, options)
        progress(0.0, "thresholding")
        bands = len(self.labels) + 1
        band = np.minimum(np.floor(_unit(volume) * bands), bands - 1).astype(np.uint8)
        progress(1.0)
        return Mask.single(band, list(self.labels), volume.geometry)

    def probabilities(self, volume: Volume, progress: Progress) -> NDArray[np.float32]:
        """See `ProbabilisticModel.probabilities`: `(class, k, j, i)`. Raises `BadInput`."""
        check_volume(volume)
        progress(0.0)
        bands = len(self.labels) + 1
        middles = (np.arange(bands) + 0.5) / bands
        logits = -self.sharpness * np.abs(_unit(volume)[None] - middles[:, None, None, None])
        weights = np.exp(logits - logits.max(axis=0))
        progress(1.0)
        return np.asarray(weights / weights.sum(axis=0), np.float32)

    def mask_from(self, probabilities: NDArray[np.float32], geometry: Geometry) -> Mask:
        """See `ProbabilisticModel.mask_from`."""
        return Mask.single(probabilities.argmax(axis=0).astype(np.uint8), list(self.labels), geometry)

    def snapshots(self) -> list[ProbabilisticModel]:
        """See `ProbabilisticModel.snapshots`."""
        return [FakeAutomatic(self.labels, self.name, self.sharpness / (n + 2)) for n in range(self.earlier)]


def _unit(volume: Volume) -> NDArray[np.float64]:
    """The voxels scaled to 0..1."""
    voxels = volume.voxels.astype(np.float64)
    low, high = voxels.min(), voxels.max()
    return np.asarray((voxels - low) / (high - low))


FAKE = ModelType("fake", "interactive", build=lambda name, options, device: FakeInteractive(name))
FAKE_AUTOMATIC = ModelType(
    "fake_automatic",
    "automatic",
    build=lambda name, options, device: FakeAutomatic(options.labels or ("structure",), name),
    scored=True,
)
