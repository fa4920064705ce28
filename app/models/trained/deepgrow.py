"""Deepgrow (Sakinis et al., arXiv 1903.08205): a structure grows from including and excluding points, in 2D or 3D.

The network sees the image and two signals, as in `monai.apps.deepgrow`. Unlike MONAI Label's, it normalises each case
by its own mean and deviation, so that it is not tied to abdominal CT, and works on a box around the points.

A 2D model (patch of one slice) answers for the slice that was clicked and leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.guidance import DEEPGROW_SIGMA, point_guidance
from app.core.model import InteractiveSession, ModelCard, Option
from app.core.progress import ignore_progress
from app.core.prompt import InitialMask, Point, Prompt, Region
from app.core.training import ModelSpec
from app.core.volume import Index, Volume
from app.models.checks import check_volume
from app.models.device import Device
from app.models.options import chosen
from app.models.registry import ModelType
from app.models.session import PromptSession
from app.models.trained.importing import MonaiLabelImport
from app.models.trained.networks import Loaded, Served
from app.models.trained.preparation import model_shape, prepare_image, region_from_model, to_model_index
from app.models.trained.windows import window_probabilities


class Deepgrow:
    """A network of 3 channels in (image, including signal, excluding signal) and 1 out. Thread-safe.

    `dimension` is what the card says while the model isn't trained; afterwards the patch of its spec says it.
    """

    accepts: frozenset[type[Prompt]] = frozenset({Point, InitialMask})

    def __init__(self, name: str, served: Served, device: Device, *, flat: bool = False) -> None:
        self._name = name
        self._served = served
        self._device = device
        self._flat = flat

    @property
    def card(self) -> ModelCard:
        version = self._served.version
        flat = version.spec.patch[0] == 1 if version is not None else self._flat
        return ModelCard(
            name=self._name,
            kind="interactive",
            description="Deepgrow: click into a structure, on the slice"
            if flat
            else "Deepgrow: click into a structure",
            dimension=2 if flat else 3,
            version=version.name if version is not None and self._served.ready else "",
            ready=self._served.ready,
        )

    def open(self, volume: Volume, options: Mapping[str, Option]) -> InteractiveSession:
        """See `InteractiveModel.open`. Raises `ModelNotTrained`, `BadInput`, `BadOption`."""
        chosen(self.card, options)
        check_volume(volume)
        loaded = self._served.get()
        predict = _Predict(loaded, self._device, volume)
        return PromptSession(volume.geometry.shape, self.accepts, predict, loaded.version.name)

    def session_bytes(self, volume: Volume) -> int:
        """The prepared image, the mask with its successor and difference, and three channels and the answer for a box
        that, at worst, is the whole volume."""
        version = self._served.version
        shape = (
            model_shape(volume.geometry, _own_slices(version.spec)) if version is not None else volume.geometry.shape
        )
        return int(np.prod(shape)) * 4 * (5 if shape[0] > 1 else 1) + 3 * volume.geometry.voxel_count

    def use(self, folder: Path) -> None:
        """Serve another version; open sessions keep theirs. See `Served.use`."""
        self._served.use(folder)


class _Predict:
    """How points become a mask of one volume. Keeps `app.models.session.Predict`."""

    def __init__(self, loaded: Loaded, device: Device, volume: Volume) -> None:
        self._loaded = loaded
        self._device = device
        self._shape = volume.geometry.shape
        self._image = prepare_image(volume, _own_slices(loaded.spec))

    def __call__(self, prompts: Sequence[Prompt], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        points = [prompt for prompt in prompts if isinstance(prompt, Point)]
        if self._loaded.spec.patch[0] == 1:
            points = [point for point in points if point.at[0] == points[-1].at[0]]
        if not any(point.include for point in points):
            return mask  # nothing to grow from yet
        grid: Index = (self._image.shape[0], self._image.shape[1], self._image.shape[2])
        places = [(to_model_index(point.at, self._shape, grid), point.include) for point in points]
        region = _box_around([at for at, _ in places], self._loaded.spec.patch, grid)
        channels = np.stack(
            [
                self._image[region.slices],
                _signal([at for at, include in places if include], region),
                _signal([at for at, include in places if not include], region),
            ]
        )
        probabilities = window_probabilities(self._loaded, channels, "sigmoid", self._device, ignore_progress)
        answer = region_from_model(probabilities[0], region, grid, self._shape)
        after = mask.copy()
        if answer is not None:
            values, place = answer
            after[place.slices] = values > 0.5
        return after


def _own_slices(spec: ModelSpec) -> ModelSpec:
    """A 2D model keeps the case's slices whatever its spec says, so that each click has its slice."""
    return replace(spec, spacing=(0.0, *spec.spacing[1:])) if spec.patch[0] == 1 else spec


def _box_around(places: Sequence[Index], patch: Index, shape: Index) -> Region:
    """The box of `patch` around the middle of all points, larger if they lie further apart, moved and cut to fit into
    `shape`."""
    low, high = [], []
    for axis in range(3):
        first = min(place[axis] for place in places)
        last = max(place[axis] for place in places)
        size = min(shape[axis], max(patch[axis], last + 1 - first))
        start = min(max(0, (first + last + 1 - size) // 2), shape[axis] - size)
        low.append(start)
        high.append(start + size)
    return Region((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def _signal(places: Sequence[Index], region: Region) -> NDArray[np.float32]:
    inside = [(k - region.low[0], j - region.low[1], i - region.low[2]) for k, j, i in places]
    return point_guidance(region.shape, inside, DEEPGROW_SIGMA)


_MONAILABEL = {"in_channels": 3, "out_channels": 1, "features": (32, 64, 128, 256, 512, 32)}


def _monailabel_2d(labels: tuple[str, ...]) -> list[ModelSpec]:
    arguments = {"spatial_dims": 2, **_MONAILABEL}
    spacing, patch = (0.0, 1.0, 1.0), (1, 256, 256)
    return [ModelSpec("deepgrow_2d", "BasicUNet", arguments, labels, spacing, patch, "shift:208:388")]


def _monailabel_3d(labels: tuple[str, ...]) -> list[ModelSpec]:
    arguments = {"spatial_dims": 3, **_MONAILABEL}
    spacing, patch = (1.0, 1.0, 1.0), (128, 192, 192)
    return [ModelSpec("deepgrow_3d", "BasicUNet", arguments, labels, spacing, patch, "shift:208:388")]


DEEPGROW_2D = ModelType(
    "deepgrow_2d",
    "interactive",
    build=lambda name, options, device: Deepgrow(name, Served(options.version, device), device, flat=True),
    trained=True,
    importer=MonaiLabelImport(_monailabel_2d, labelled=False, axes="kij"),
)
DEEPGROW_3D = ModelType(
    "deepgrow_3d",
    "interactive",
    build=lambda name, options, device: Deepgrow(name, Served(options.version, device), device),
    trained=True,
    importer=MonaiLabelImport(_monailabel_3d, labelled=False, axes="kij"),
)
