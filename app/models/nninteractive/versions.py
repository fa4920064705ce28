"""Versions of an nnInteractive model that were trained here.

    1/             the base: a copy of the model folder that the setting `source` named, with a `model.json`
    2/model.json   the spec; its `arguments` name the base, by folder and digest, and say what a network's input is
    2/weights.pt   the parameters that were trained; a few kilobytes where only normalisation layers were

They are put into the base's network when it is loaded, so that a prediction takes no longer. A version refers to its
base instead of holding a copy, because official weights are hundreds of megabytes.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.core.training import ModelSpec
from app.errors import BadFile
from app.models.nninteractive.folder import ModelFolder, find_folder, read_folder, version_name
from app.models.nninteractive.library import load_artifacts, read_capabilities
from app.models.registry import BaseCopy, ModelOptions
from app.models.trained.spec import read_version, write_version

if TYPE_CHECKING:
    import torch

INTENSITY = "nonzero_box"
"""How the library normalises an image, as `ModelSpec.intensity`."""

_TRAINED = "{} Fine-tuned on labels of this server."


def is_version(folder: Path) -> bool:
    """Whether a folder is a version of this server, rather than a model folder as it is handed out."""
    return (folder / "model.json").is_file()


def read_model(folder: Path, store: Path, patches: int | None = None) -> ModelFolder:
    """Read a model folder or a version folder, whose base is in `store`, without importing torch.

    Raises:
        BadFile: a file is missing, says something that can't be used, or the base is not the one that was trained from.
    """
    version = read_version(folder) if is_version(folder) else None
    if version is None or version.weights is None:
        return read_folder(folder, patches)
    base = _base_of(version.spec, store, patches)
    return replace(
        base,
        version=version_name(version.sha256, base.patches),
        description=_TRAINED.format(base.description),
        trained=version.weights,
        trained_sha256=version.sha256,
    )


class ModelFolderBase:
    """Keeps `app.models.registry.Base` for folders in nnInteractive's format."""

    def copy(self, options: ModelOptions, into: Path) -> BaseCopy:
        """See `Base.copy`."""
        folder = read_folder(find_folder(_source(options)))
        shutil.copytree(folder.path, into, dirs_exist_ok=True)
        copied = read_folder(into)
        sha256 = copied.checkpoint_sha256
        arguments = {
            "source": _source(options),
            "base": into.name,
            "base_sha256": sha256,
            "input": _network_input(copied),
        }
        version = write_version(
            into, ModelSpec("nninteractive", "nnInteractive", arguments, (), (0.0, 0.0, 0.0), copied.patch, INTENSITY)
        )
        return BaseCopy(version, sha256, copied.licence)

    def began_with(self, version: Path, options: ModelOptions) -> bool:
        """See `Base.began_with`. By the name of the source: an update of the starter model doesn't take away what was
        trained from the one before."""
        return bool(read_version(version).spec.arguments.get("source") == _source(options))

    def network(self, spec: ModelSpec, store: Path) -> torch.nn.Module:
        """See `Base.network`."""
        network: torch.nn.Module = load_artifacts(_base_of(spec, store))["network"]
        return network.float().requires_grad_(True)


def _source(options: ModelOptions) -> str:
    return options.source or "starter"


def _base_of(spec: ModelSpec, store: Path, patches: int | None = None) -> ModelFolder:
    try:
        name, sha256 = str(spec.arguments["base"]), str(spec.arguments["base_sha256"])
    except KeyError as error:
        raise BadFile(f"a version's model.json doesn't say {error}") from error
    if name != Path(name).name or name in {"", ".", ".."}:
        raise BadFile(f"{name!r} is no version's folder")
    base = read_folder(store / name, patches)
    if base.checkpoint_sha256 != sha256:
        raise BadFile(f"{base.path} doesn't hold the weights that the version was trained from")
    return base


def _network_input(folder: ModelFolder) -> dict[str, Any]:
    """Which channel holds what, as JSON (`trainers/_canvas.py`)."""
    artifacts = load_artifacts(folder)
    found = read_capabilities(artifacts)
    radius = artifacts["point_interaction"].point_radius
    if type(radius) is not int:
        raise BadFile(f"{folder.path} has points of {radius!r} voxels, and only one whole radius can be trained with")
    takes = {name: list(pair) for name, pair in found.channel_mapping.items() if not isinstance(pair, int)}
    return {
        "channels": found.num_interaction_channels,
        "previous": found.channel_mapping["prev_seg"],
        "prompts": {name: pair for name, pair in takes.items() if found.supported_interactions.get(name)},
        "point_radius": radius,
        "decay": found.interaction_decay,
    }
