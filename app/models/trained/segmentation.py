"""Automatic multi-label segmentation: a MONAI network over sliding windows, on the spec's grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.mask import Mask
from app.core.model import ModelCard, Option, ProbabilisticModel
from app.core.progress import Progress
from app.core.training import ModelSpec
from app.core.volume import Geometry, Volume
from app.errors import BadFile
from app.models.checks import check_volume
from app.models.device import Device
from app.models.options import chosen
from app.models.registry import ModelType
from app.models.trained.importing import ABDOMINAL_CT, MonaiLabelImport
from app.models.trained.networks import Loaded, Served
from app.models.trained.preparation import labelmap_from, prepare_image
from app.models.trained.windows import window_probabilities


class Segmentation:
    """A trained network for a fixed set of labels. Keeps `app.core.model.ProbabilisticModel`; thread-safe.

    `labels` are what the card says while the model isn't trained; afterwards its spec says it.
    """

    def __init__(self, name: str, served: Served, device: Device, labels: tuple[str, ...] = ()) -> None:
        self._name = name
        self._served = served
        self._device = device
        self._labels = labels

    @property
    def card(self) -> ModelCard:
        version = self._served.version
        return ModelCard(
            name=self._name,
            kind="automatic",
            description="Segments " + (", ".join(self._all_labels) or "the labels it is trained for"),
            labels=self._all_labels,
            version=version.name if version is not None and self._served.ready else "",
            ready=self._served.ready,
        )

    def segment(self, volume: Volume, progress: Progress, options: Mapping[str, Option]) -> Mask:
        """See `AutomaticModel.segment`. Raises `ModelNotTrained`, `BadInput`, `Cancelled`."""
        chosen(self.card, options)
        loaded = self._served.get()
        return _mask(loaded, self._probabilities(loaded, volume, progress), volume.geometry)

    def probabilities(self, volume: Volume, progress: Progress) -> NDArray[np.float32]:
        return self._probabilities(self._served.get(), volume, progress)

    def mask_from(self, probabilities: NDArray[np.float32], geometry: Geometry) -> Mask:
        return _mask(self._served.get(), probabilities, geometry)

    def snapshots(self) -> list[ProbabilisticModel]:
        return [Segmentation(self._name, served, self._device, self._labels) for served in self._served.earlier()]

    def use(self, folder: Path) -> None:
        """Serve another version; see `Served.use`."""
        self._served.use(folder)

    @property
    def _all_labels(self) -> tuple[str, ...]:
        version = self._served.version
        return version.spec.labels if version is not None else self._labels

    def _probabilities(self, loaded: Loaded, volume: Volume, progress: Progress) -> NDArray[np.float32]:
        check_volume(volume)
        progress(0.0, "preparing")
        image = prepare_image(volume, loaded.spec)
        probabilities = window_probabilities(loaded, image[None], "softmax", self._device, progress)
        return check_classes(probabilities, loaded)


def _mask(loaded: Loaded, probabilities: NDArray[np.float32], geometry: Geometry) -> Mask:
    return Mask.single(labelmap_from(probabilities, geometry.shape), list(loaded.spec.labels), geometry)


def check_classes(probabilities: NDArray[np.float32], loaded: Loaded) -> NDArray[np.float32]:
    """`probabilities` if it has a class for the background and one per label, else `BadFile`."""
    classes, labels = probabilities.shape[0], len(loaded.spec.labels)
    if classes != labels + 1:
        raise BadFile(f"{loaded.version.folder} has {labels} labels, its network answers {classes - 1}")
    return probabilities


def _monailabel_networks(labels: tuple[str, ...]) -> list[ModelSpec]:
    ends = {"spatial_dims": 3, "in_channels": 1, "out_channels": len(labels) + 1}
    segresnet = {**ends, "init_filters": 32, "blocks_down": [1, 2, 2, 4], "blocks_up": [1, 1, 1]}
    unet = {**ends, "channels": [16, 32, 64, 128, 256], "strides": [2, 2, 2, 2], "num_res_units": 2}
    networks = [
        ("SegResNet", segresnet),
        ("SegResNet", {**segresnet, "norm": "batch"}),
        ("UNet", {**unet, "norm": "instance"}),
        ("UNet", {**unet, "norm": "batch"}),
    ]
    return [
        ModelSpec("segmentation", network, arguments, labels, (1.0, 1.0, 1.0), (128, 128, 128), ABDOMINAL_CT)
        for network, arguments in networks
    ]


SEGMENTATION = ModelType(
    "segmentation",
    "automatic",
    build=lambda name, options, device: Segmentation(name, Served(options.version, device), device, options.labels),
    trained=True,
    importer=MonaiLabelImport(_monailabel_networks),
    scored=True,
)
