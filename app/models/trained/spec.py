"""A version folder: one set of weights and what is needed to run them.

    model.json         the ModelSpec (its type is called `kind`), and the sha256 of weights.pt (absent: the model is
                       not trained yet)
    weights.pt         a state dict, tensors only
    snapshot-NNNN.pt   earlier weights of the same training run, by epoch

A folder is written once and never changed afterwards, apart from snapshots while its training runs.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.core.training import ModelSpec
from app.durable import file_sha256, write_durably
from app.errors import BadFile, IntegrityError

if TYPE_CHECKING:
    import torch

_FORMAT = 1


@dataclass(frozen=True)
class Version:
    """A version folder as read. `sha256` is "" without weights. `snapshots` are newest first."""

    folder: Path
    spec: ModelSpec
    sha256: str
    snapshots: tuple[Path, ...]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def weights(self) -> Path | None:
        return self.folder / "weights.pt" if self.sha256 else None


def read_version(folder: Path) -> Version:
    """Read a version folder. Raises `BadFile` if `model.json` is missing or isn't one."""
    path = folder / "model.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise BadFile(f"{path} is of format {content['format']}; this segloop reads format {_FORMAT}")
        spec = _spec(content["spec"])
        sha256 = str(content.get("sha256", ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadFile(f"{path} can't be read as a model description: {error!r}") from error
    snapshots = sorted(folder.glob("snapshot-*.pt"), reverse=True)
    return Version(folder, spec, sha256, tuple(snapshots))


def write_version(folder: Path, spec: ModelSpec, weights: Mapping[str, torch.Tensor] | None = None) -> Version:
    """Write a version folder; `model.json` comes last, so a folder that has one is whole.

    `weights` is a state dict; None for a model that is still to be trained.
    """
    described = asdict(spec)
    content: dict[str, Any] = {"format": _FORMAT, "spec": {"kind": described.pop("type"), **described}}
    if weights is not None:
        content["sha256"] = _save(folder / "weights.pt", weights)
    write_durably(folder / "model.json", lambda file: file.write(json.dumps(content, indent=1).encode()))
    return read_version(folder)


def write_snapshot(folder: Path, epoch: int, weights: Mapping[str, torch.Tensor]) -> Path:
    """Keep the weights after an epoch of a training run beside the version that it ends in."""
    path = folder / f"snapshot-{epoch:04d}.pt"
    _save(path, weights)
    return path


def read_weights(path: Path, sha256: str = "") -> dict[str, torch.Tensor]:
    """Read a state dict onto the processor.

    Raises:
        BadFile: there is no such file, or it holds anything but tensors by name.
        IntegrityError: the bytes are not those of `sha256` (not checked if empty).
    """
    import torch

    if not path.is_file():
        raise BadFile(f"there is no weights file {path}")
    if sha256 and file_sha256(path) != sha256:
        raise IntegrityError(f"{path} is not the file that was stored: its checksum differs")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise BadFile(f"{path.name} holds more than weights, or is damaged: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise BadFile(f"{path.name} is not a set of weights by name")
    return content


def _save(path: Path, weights: Mapping[str, torch.Tensor]) -> str:
    import torch

    return write_durably(path, lambda file: torch.save({k: v.detach().cpu() for k, v in weights.items()}, file))


def _spec(content: dict[str, Any]) -> ModelSpec:
    k, j, i = (float(x) for x in content["spacing"])
    depth, rows, columns = (int(x) for x in content["patch"])
    type_ = str(content["kind"])
    if type_ == "deepgrow":  # what was trained before its dimension was part of the name
        type_ = "deepgrow_2d" if depth == 1 else "deepgrow_3d"
    return ModelSpec(
        type=type_,
        network=str(content["network"]),
        arguments=dict(content["arguments"]),
        labels=tuple(str(name) for name in content["labels"]),
        spacing=(k, j, i),
        patch=(depth, rows, columns),
        intensity=str(content["intensity"]),
    )
