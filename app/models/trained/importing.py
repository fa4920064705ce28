"""Bring a model trained with MONAI Label along: its `.pt` or `.ts` file becomes a version folder.

The file holds weights and no word about the network, so the networks of MONAI Label's radiology app (release 0.8) are
tried until one fits by name and shape of every weight.

MONAI Label's arrays run `(i, j, k)` (deepgrow: `(k, i, j)`), ours `(k, j, i)`. Convolutions are turned to match, which
gives the very same answers. What can't be turned is mirroring: MONAI Label turns cases to RAS for deepedit and in newer
segmentation apps, which mirrors the usual axial case left-right and front-back. Such imports are a start for training
here; deepgrow and older segmentation models can be used as they are.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from app.core.training import ModelSpec
from app.errors import BadFile, BadOption
from app.models.trained.networks import build_network
from app.models.trained.spec import Version, write_version

if TYPE_CHECKING:
    import torch

ABDOMINAL_CT = "window:-175:250"
"""The intensities of MONAI Label's radiology app, as `ModelSpec.intensity` has them."""


@dataclass(frozen=True)
class MonaiLabelImport:
    """Imports weights of one model type. Keeps `app.models.registry.Importer`.

    `networks` gives the networks that MONAI Label's radiology app has for it, for labels 1..N without background, in
    our axis order. Without `labelled` they know no labels. `axes` is the order of MONAI Label's arrays.
    """

    networks: Callable[[tuple[str, ...]], list[ModelSpec]]
    labelled: bool = True
    axes: Literal["ijk", "kij"] = "ijk"

    def __call__(self, file: Path, labels: tuple[str, ...], into: Path, *, allow_code: bool = False) -> Version:
        """Write the version folder `into` from a MONAI Label model file.

        `allow_code` is needed for TorchScript (`.ts`), which is a program: only say so for files you would also run.

        Raises:
            BadFile: the file holds more than weights, or fits none of the known networks.
            BadOption: labels where there are none, or TorchScript without `allow_code`.
        """
        if bool(labels) != self.labelled:
            raise BadOption("deepgrow models know no labels; all others need the names of theirs, in order")
        weights = _read(file, allow_code)
        shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        specs = self.networks(labels)
        for spec in specs:
            network = build_network(_turned_back(spec))
            if {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == shapes:
                return write_version(into, spec, {name: self.turned(tensor) for name, tensor in weights.items()})
        tried = "; ".join(f"{spec.network} with {len(labels)} labels" for spec in specs)
        raise BadFile(f"{file.name} fits none of MONAI Label's networks for {specs[0].type} (tried: {tried})")

    def turned(self, tensor: torch.Tensor) -> torch.Tensor:
        """A convolution's weight `(out, in, *space)` in our axis order; anything else as it is."""
        if tensor.ndim < 4:
            return tensor
        if self.axes == "kij":
            return tensor.transpose(-1, -2).contiguous()
        return tensor.permute(0, 1, 4, 3, 2).contiguous()


def _read(file: Path, allow_code: bool) -> dict[str, torch.Tensor]:
    import pickle

    import torch

    if file.suffix == ".ts":
        if not allow_code:
            raise BadOption(f"{file} is TorchScript, a program: say that it may be loaded if you trust its source")
        return dict(torch.jit.load(str(file), map_location="cpu").state_dict())  # type: ignore[no-untyped-call]
    try:
        _check_stored(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise BadFile(f"{file.name} holds more than weights, or is damaged: {error}") from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]  # as MONAI's CheckpointSaver writes it, beside the optimizer
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise BadFile(f"{file.name} is not a set of weights by name")
    return dict(content)


def _check_stored(file: Path) -> None:
    """PyTorch stores its zip files without compression, and inflates what others compressed: a megabyte becomes a
    gigabyte. Raises `BadFile` for a file whose directory says more bytes than it has; older formats aren't zip."""
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise BadFile(f"{file.name} is damaged: {error}") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise BadFile(f"{file.name} is compressed, which files of weights aren't")
    if sum(entry.file_size for entry in entries) > file.stat().st_size:
        raise BadFile(f"{file.name} says that it has more bytes than it has")


def _turned_back(spec: ModelSpec) -> ModelSpec:
    """The spec in MONAI Label's axis order, to compare shapes with the file's."""
    if spec.network != "DynUNet":
        return spec  # all other networks treat their axes alike
    arguments = {**spec.arguments}
    for name in ("strides", "upsample_kernel_size"):
        arguments[name] = [step[::-1] if isinstance(step, list) else step for step in arguments[name]]
    return replace(spec, arguments=arguments)
