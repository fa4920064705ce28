"""A MONAI bundle folder as an automatic model.

A bundle's configuration is code: it names classes and contains Python expressions. So only bundles that the operator
put on the server's disk and named in the settings are used, never uploaded ones. Weights are still loaded with
`weights_only`.

The bundle's own preprocessing starts with reading a file (`LoadImaged`) and continues with orientation, spacing and
intensity, in an order of its own. It runs unchanged on a temporary NIfTI file of the volume, and MONAI's `Invertd` maps
the network's output back to the volume's grid. The bundle's postprocessing isn't run because it writes files; here the
class with the highest score is taken (without a background class: every class with a probability above 0.5).
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.core.mask import Mask, Segment
from app.core.model import ModelCard, Option
from app.core.progress import Progress
from app.core.volume import Volume
from app.errors import BadFile, ConfigurationError
from app.models.checks import check_volume
from app.models.device import Device
from app.models.options import chosen
from app.models.precision import in_precision
from app.models.registry import ModelOptions, ModelType
from app.models.trained.networks import load_weights

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class _Parts:
    """The parts of a bundle that are used: transforms, network on the device, inferer."""

    preprocessing: Any
    network: torch.nn.Module
    inferer: Any


class Bundle:
    """One bundle folder (`configs/metadata.json`, `configs/inference.json`, `models/model.pt`). Thread-safe.

    With a background channel the classes are mutually exclusive; without one (as in brain tumour bundles) they may
    overlap, and each gets its own layer.
    """

    def __init__(self, name: str, folder: Path, device: Device) -> None:
        if os.environ.get("MONAI_ALLOW_PICKLE", "0").lower() not in {"", "0", "false", "no", "off"}:
            raise ConfigurationError("MONAI_ALLOW_PICKLE is set: weights could run code. Unset it to use bundles")
        self._folder = folder
        self._device = device
        self._lock = threading.Lock()
        self._parts: _Parts | None = None
        metadata = _metadata(folder)
        names, self._exclusive = _channels(metadata, folder)
        self.card = ModelCard(
            name=name,
            kind="automatic",
            description=str(metadata.get("description") or metadata.get("task") or f"MONAI bundle {folder.name}"),
            labels=names,
            version=f"{folder.name}-{metadata.get('version', '0')}",
            licence=_licence(folder, metadata),
            ready=(folder / "models" / "model.pt").is_file(),
        )

    def segment(self, volume: Volume, progress: Progress, options: Mapping[str, Option]) -> Mask:
        """See `AutomaticModel.segment`. Raises `BadInput`, `BadFile` (the bundle can't be used), `Cancelled`."""
        chosen(self.card, options)
        check_volume(volume)
        parts = self._load()
        progress(0.0, "preparing")
        scores = self._scores(parts, volume, progress)
        names = list(self.card.labels)
        if scores.shape != (len(names) + self._exclusive, *volume.geometry.shape):
            raise BadFile(f"the bundle {self._folder.name} answers {scores.shape} for {len(names)} labels")
        if self._exclusive:
            return Mask.single(scores.argmax(axis=0).astype(np.uint8), names, volume.geometry)
        layers = tuple(
            np.where(score > 0, np.uint8(number), np.uint8(0)) for number, score in enumerate(scores, start=1)
        )
        segments = tuple(Segment(number, label, number - 1) for number, label in enumerate(names, start=1))
        return Mask(layers, segments, volume.geometry)

    def _scores(self, parts: _Parts, volume: Volume, progress: Progress) -> NDArray[np.float32]:
        """The network's raw output `(class, k, j, i)` on the volume's grid."""
        import torch
        from monai.transforms import Invertd

        with tempfile.TemporaryDirectory(prefix="segloop-bundle-") as folder:
            data = parts.preprocessing({"image": str(_write_nifti(volume, Path(folder)))})
        windows = 0

        def forward(window: torch.Tensor) -> torch.Tensor:
            nonlocal windows
            windows += 1
            progress(windows / (windows + 10), "segmenting")  # the inferer doesn't tell how many windows there are
            self._device.yield_to_prompts()
            answer: torch.Tensor = parts.network(window)
            return answer

        with torch.no_grad():  # not inference_mode, see app.models.trained.windows
            image = data["image"]
            data["pred"] = parts.inferer(image[None].to(self._device.torch_name), forward)[0].float().cpu()
        invert = Invertd(
            keys="pred", transform=parts.preprocessing, orig_keys="image", nearest_interp=False, to_tensor=True
        )
        scores: NDArray[np.float32] = invert(data)["pred"].numpy()
        progress(1.0, "segmented")
        return np.ascontiguousarray(scores.transpose(0, 3, 2, 1))

    def _load(self) -> _Parts:
        with self._lock:
            if self._parts is None:
                self._parts = _load(self._folder, self._device)
            return self._parts


def _load(folder: Path, device: Device) -> _Parts:
    from monai.bundle import ConfigParser

    names = ("inference.json", "inference.yaml", "inference.yml")
    found = [folder / "configs" / name for name in names if (folder / "configs" / name).is_file()]
    if not found:
        raise BadFile(f"{folder} has no configs/inference.json or .yaml")
    try:
        parser = ConfigParser()
        parser.read_config(str(found[0]))
        parser.read_meta(str(folder / "configs" / "metadata.json"))
        parser["bundle_root"] = str(folder)
        parser["device"] = f"$torch.device('{device.torch_name}')"
        network = parser.get_parsed_content("network_def")
        preprocessing = parser.get_parsed_content("preprocessing")
        inferer = parser.get_parsed_content("inferer")
    except Exception as error:  # a configuration is code and may raise anything
        raise BadFile(f"{found[0]} can't be used: {error}") from error
    load_weights(network, folder / "models" / "model.pt")
    network = network.to(device.torch_name).eval().requires_grad_(False)
    return _Parts(preprocessing, in_precision(network, device.precision, device.torch_name), inferer)


def _write_nifti(volume: Volume, folder: Path) -> Path:
    """The volume as NIfTI: array `(i, j, k)`, affine in RAS."""
    import nibabel

    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.geometry.affine
    path = folder / "image.nii"
    image = nibabel.Nifti1Image(np.ascontiguousarray(volume.voxels.astype(np.float32).T), affine)
    nibabel.save(image, path)
    return path


def _metadata(folder: Path) -> dict[str, Any]:
    path = folder / "configs" / "metadata.json"
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFile(f"{path} can't be read: {error}") from error
    if not isinstance(metadata, dict):
        raise BadFile(f"{path} is not a JSON object")
    return metadata


def _channels(metadata: dict[str, Any], folder: Path) -> tuple[tuple[str, ...], bool]:
    """The labels in order, and whether channel 0 is the background, so that classes are mutually exclusive."""
    try:
        formats = metadata["network_data_format"]
        inputs = int(formats["inputs"]["image"]["num_channels"])
        defined = formats["outputs"]["pred"]["channel_def"]
        channels = [str(defined[number]) for number in sorted(defined, key=int)]
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{folder}/configs/metadata.json doesn't say what goes in and out: {error!r}") from error
    if inputs != 1:
        raise BadFile(f"the bundle {folder.name} takes {inputs} images at once; a case has one")
    exclusive = channels[0].lower() == "background"
    return tuple(channels[1:] if exclusive else channels), exclusive


def _licence(folder: Path, metadata: dict[str, Any]) -> str:
    path = folder / "LICENSE"
    if path.is_file():
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if lines:
            return lines[0]
    return str(metadata.get("copyright", "unknown"))


def _build(name: str, options: ModelOptions, device: Device) -> Bundle:
    if not options.source:
        raise ConfigurationError(f"the model {name} is a bundle; set its source to the bundle's folder")
    return Bundle(name, Path(options.source), device)


BUNDLE = ModelType("bundle", "automatic", build=_build)
