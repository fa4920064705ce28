"""Bring a model trained with MONAI Label along: its `.pt` or `.ts` file becomes a version folder.

The file holds weights and no word about the network, so the networks of MONAI Label's radiology app (release 0.8) are
tried until one fits by name and shape of every weight.

MONAI Label's arrays run `(i, j, k)` (deepgrow: `(k, i, j)`), ours `(k, j, i)`. Convolutions are turned to match, which
gives the very same answers. What can't be turned is mirroring: MONAI Label turns cases to RAS for deepedit and in newer
segmentation apps, which mirrors the usual axial case left-right and front-back. Such imports are a start for training
here; deepgrow and older segmentation models can be used as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from app.core.training import ModelSpec
from app.errors import BadFile, BadOption
from app.models.trained.networks import build_network
from app.models.trained.spec import Version, write_version

if TYPE_CHECKING:
    import torch

ImportKind = Literal["deepgrow_2d", "deepgrow_3d", "deepedit", "segmentation"]

_FEATURES = (32, 64, 128, 256, 512, 32)
_ABDOMINAL_CT = "window:-175:250"


def import_monailabel(
    file: Path, kind: ImportKind, labels: Sequence[str], into: Path, *, allow_code: bool = False
) -> Version:
    """Write the version folder `into` from a MONAI Label model file.

    `labels` are the structures 1..N without background (none for deepgrow). `allow_code` is needed for TorchScript
    (`.ts`), which is a program: only say so for files you would also run.

    Raises:
        BadFile: the file holds more than weights, or fits none of the known networks.
        BadOption: labels where there are none, or TorchScript without `allow_code`.
    """
    if bool(labels) == kind.startswith("deepgrow"):
        raise BadOption("deepgrow models know no labels; all others need the names of theirs, in order")
    weights = _read(file, allow_code)
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    tried = []
    for spec in _candidates(kind, tuple(labels)):
        network = build_network(_turned_back(spec))
        if {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == shapes:
            return write_version(into, spec, {name: _turned(kind, tensor) for name, tensor in weights.items()})
        tried.append(f"{spec.network} with {len(labels)} labels")
    raise BadFile(f"{file} fits none of MONAI Label's networks for {kind} (tried: {'; '.join(tried)})")


def _read(file: Path, allow_code: bool) -> dict[str, torch.Tensor]:
    import pickle

    import torch

    if file.suffix == ".ts":
        if not allow_code:
            raise BadOption(f"{file} is TorchScript, a program: say that it may be loaded if you trust its source")
        return dict(torch.jit.load(str(file), map_location="cpu").state_dict())  # type: ignore[no-untyped-call]
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise BadFile(f"{file} holds more than weights, or is damaged: {error}") from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]  # as MONAI's CheckpointSaver writes it, beside the optimizer
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise BadFile(f"{file} is not a set of weights by name")
    return dict(content)


def _candidates(kind: ImportKind, labels: tuple[str, ...]) -> list[ModelSpec]:
    """The networks MONAI Label's radiology app has for `kind`, in our axis order."""
    if kind == "deepgrow_2d":
        arguments = {"spatial_dims": 2, "in_channels": 3, "out_channels": 1, "features": _FEATURES}
        return [ModelSpec(kind, "BasicUNet", arguments, (), (0.0, 1.0, 1.0), (1, 256, 256), "shift:208:388")]
    if kind == "deepgrow_3d":
        arguments = {"spatial_dims": 3, "in_channels": 3, "out_channels": 1, "features": _FEATURES}
        return [ModelSpec(kind, "BasicUNet", arguments, (), (1.0, 1.0, 1.0), (128, 192, 192), "shift:208:388")]
    if kind == "deepedit":
        arguments = _dynunet(len(labels))
        return [ModelSpec(kind, "DynUNet", arguments, labels, (1.0, 1.0, 1.0), (128, 128, 128), _ABDOMINAL_CT)]
    return [
        ModelSpec(kind, network, arguments, labels, (1.0, 1.0, 1.0), (128, 128, 128), _ABDOMINAL_CT)
        for network, arguments in _segmentation_networks(len(labels) + 1)
    ]


def _dynunet(labels: int) -> dict[str, Any]:
    """The last stage keeps k, the axis with the fewest voxels; in MONAI Label that is the last one, here the first."""
    return {
        "spatial_dims": 3,
        "in_channels": labels + 2,
        "out_channels": labels + 1,
        "kernel_size": [3, 3, 3, 3, 3, 3],
        "strides": [1, 2, 2, 2, 2, [1, 2, 2]],
        "upsample_kernel_size": [2, 2, 2, 2, [1, 2, 2]],
        "norm_name": "instance",
        "deep_supervision": False,
        "res_block": True,
    }


def _segmentation_networks(classes: int) -> list[tuple[str, dict[str, Any]]]:
    ends = {"spatial_dims": 3, "in_channels": 1, "out_channels": classes}
    segresnet = {"init_filters": 32, "blocks_down": [1, 2, 2, 4], "blocks_up": [1, 1, 1]}
    unet = {"channels": [16, 32, 64, 128, 256], "strides": [2, 2, 2, 2], "num_res_units": 2}
    return [
        ("SegResNet", {**ends, **segresnet}),
        ("SegResNet", {**ends, **segresnet, "norm": "batch"}),
        ("UNet", {**ends, **unet, "norm": "instance"}),
        ("UNet", {**ends, **unet, "norm": "batch"}),
    ]


def _turned_back(spec: ModelSpec) -> ModelSpec:
    """The spec in MONAI Label's axis order, to compare shapes with the file's."""
    if spec.network != "DynUNet":
        return spec  # all other networks treat their axes alike
    arguments = {**spec.arguments}
    for name in ("strides", "upsample_kernel_size"):
        arguments[name] = [step[::-1] if isinstance(step, list) else step for step in arguments[name]]
    return ModelSpec(spec.kind, spec.network, arguments, spec.labels, spec.spacing, spec.patch, spec.intensity)


def _turned(kind: ImportKind, tensor: torch.Tensor) -> torch.Tensor:
    """A convolution's weight `(out, in, *space)` in our axis order; anything else as it is."""
    if tensor.ndim < 4:
        return tensor
    if kind.startswith("deepgrow"):
        return tensor.transpose(-1, -2).contiguous()
    return tensor.permute(0, 1, 4, 3, 2).contiguous()
