"""DeepEdit (Diaz-Pinto et al., arXiv 2305.10655): automatic segmentation that points per label can correct.

One network takes the image and one signal per label and for the background. Unlike MONAI Label's, which squeezes the
whole case into 128 x 128 x 128 voxels, it works in windows on the spec's grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from app.core.guidance import DEEPEDIT_SIGMA, point_guidance
from app.core.mask import Mask
from app.core.model import ModelCard, Option
from app.core.progress import Progress
from app.core.prompt import Point
from app.core.training import ModelSpec
from app.core.volume import Index, Volume
from app.errors import BadPrompt
from app.models.checks import check_prompt, check_volume
from app.models.device import Device
from app.models.options import chosen
from app.models.registry import ModelType
from app.models.trained.importing import ABDOMINAL_CT, MonaiLabelImport
from app.models.trained.networks import Served
from app.models.trained.preparation import labelmap_from, prepare_image, to_model_index
from app.models.trained.segmentation import check_classes
from app.models.trained.windows import window_probabilities

BACKGROUND = "background"


class DeepEdit:
    """A network of `1 + labels + 1` channels: the image, a signal per label, and the background's last. Thread-safe."""

    def __init__(self, name: str, served: Served, device: Device, labels: tuple[str, ...] = ()) -> None:
        self._name = name
        self._served = served
        self._device = device
        self._labels = labels

    @property
    def card(self) -> ModelCard:
        version = self._served.version
        labels = version.spec.labels if version is not None else self._labels
        return ModelCard(
            name=self._name,
            kind="deepedit",
            description="DeepEdit: segments on its own, and points per label correct it",
            labels=labels,
            version=version.name if version is not None and self._served.ready else "",
            ready=self._served.ready,
        )

    def segment(self, volume: Volume, progress: Progress, options: Mapping[str, Option]) -> Mask:
        """Segment without points. Raises `ModelNotTrained`, `BadInput`, `Cancelled`."""
        return self.segment_with_points(volume, {}, progress, options)

    def segment_with_points(
        self,
        volume: Volume,
        points: Mapping[str, Sequence[Index]],
        progress: Progress,
        options: Mapping[str, Option],
    ) -> Mask:
        """Segment with voxels `(k, j, i)` known to belong to a label, or to `background`.

        Raises:
            BadPrompt: a point outside the volume, or for a label that the model doesn't have.
            ModelNotTrained: there are no weights yet.
        """
        chosen(self.card, options)
        check_volume(volume)
        loaded = self._served.get()
        shape = volume.geometry.shape
        channels = [*loaded.spec.labels, BACKGROUND]
        unknown = sorted(set(points) - set(channels))
        if unknown:
            raise BadPrompt(f"{self._name} has no label {', '.join(unknown)}; it has {', '.join(channels)}")
        for at in (at for places in points.values() for at in places):
            check_prompt(Point(at), shape, (Point,))
        progress(0.0, "preparing")
        image = prepare_image(volume, loaded.spec)
        grid: Index = (image.shape[0], image.shape[1], image.shape[2])
        signals = [
            point_guidance(grid, [to_model_index(at, shape, grid) for at in points.get(name, ())], DEEPEDIT_SIGMA)
            for name in channels
        ]
        probabilities = window_probabilities(loaded, np.stack([image, *signals]), "softmax", self._device, progress)
        label = labelmap_from(check_classes(probabilities, loaded), shape)
        return Mask.single(label, list(loaded.spec.labels), volume.geometry)

    def use(self, folder: Path) -> None:
        """Serve another version; see `Served.use`."""
        self._served.use(folder)


def _monailabel_networks(labels: tuple[str, ...]) -> list[ModelSpec]:
    """The last stage keeps k, the axis with the fewest voxels; in MONAI Label that is the last one, here the first."""
    arguments = {
        "spatial_dims": 3,
        "in_channels": len(labels) + 2,
        "out_channels": len(labels) + 1,
        "kernel_size": [3, 3, 3, 3, 3, 3],
        "strides": [1, 2, 2, 2, 2, [1, 2, 2]],
        "upsample_kernel_size": [2, 2, 2, 2, [1, 2, 2]],
        "norm_name": "instance",
        "deep_supervision": False,
        "res_block": True,
    }
    return [ModelSpec("deepedit", "DynUNet", arguments, labels, (1.0, 1.0, 1.0), (128, 128, 128), ABDOMINAL_CT)]


DEEPEDIT = ModelType(
    "deepedit",
    "deepedit",
    build=lambda name, options, device: DeepEdit(name, Served(options.version, device), device, options.labels),
    trained=True,
    importer=MonaiLabelImport(_monailabel_networks),
)
