"""A folder in nnInteractive's model format, read before the library does.

    plans.json, dataset.json       nnU-Net's; of these only patch size and architecture matter here
    inference_info.json            which prompts the model takes (older: inference_session_class.json)
    LICENSE                        its first line is what people are shown
    fold_X/checkpoint_final.pth    exactly one
    segloop.json                   ours, optional: {"guard": true} asks for the guard against runaway clicks
                                   (`app.models.nninteractive.guard`); {"patches": 4} for no more patches than that
                                   besides the first in one prediction (`app.models.nninteractive.patches`);
                                   {"description": "..."} is what viewers show

The library unpickles the checkpoint and builds whatever class the plans name, so both are checked here first.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Scribble
from app.core.volume import Index
from app.durable import file_sha256
from app.errors import BadFile, UnknownModel

_INTERACTIONS: dict[str, type[Prompt]] = {
    "points": Point,
    "bbox2d": Box,
    "bbox3d": Box,
    "scribble": Scribble,
    "lasso": Lasso,
}
_DEFAULTS = {"points": True, "bbox2d": True, "bbox3d": False, "scribble": True, "lasso": True}  # as the library has it
_OFFICIAL_DATASET = "Dataset225_nnInteractiveV2"
_STARTER = Path(__file__).parents[1] / "starter"
_DESCRIPTION = "nnInteractive: click, scribble, draw a box or a lasso around any structure"

_OWN_NETWORK = "app.models.starter_network.StarterUNet"
"""The network of our own that a plans file may name."""


@dataclass(frozen=True)
class ModelFolder:
    """What a model folder says about itself. `patch` is the network's input `(k, j, i)`; `version` names the weights
    by the start of their sha256, and the limit of patches if there is one: both decide about a mask's voxels.
    `boxes_3d` says that boxes thicker than a slice are understood. `patches` is how many patches besides the first one
    prediction may look at; None leaves that to the library. `trained` is a file of weights that replace some of the
    checkpoint's, and `trained_sha256` its digest; see `app.models.nninteractive.versions`."""

    path: Path
    checkpoint: Path
    checkpoint_sha256: str
    version: str
    licence: str
    patch: Index
    accepts: frozenset[type[Prompt]]
    boxes_3d: bool
    guard: bool
    patches: int | None
    description: str
    trained: Path | None = None
    trained_sha256: str = ""


def find_folder(model: str) -> Path:
    """Where a model is: `starter` (shipped; `demo` is its older name), an official id such as `nnInteractive_v1.0`, or
    a folder's path.

    Raises:
        UnknownModel: there is no such folder, or the official model wasn't pulled yet. Nothing is ever fetched here.
    """
    if model in {"starter", "demo"}:
        return _STARTER
    if _is_official(model):
        from nnInteractive.model_management import get_local_model_dir, is_model_downloaded

        if not is_model_downloaded(model):
            raise UnknownModel(f"the model {model} is not on this machine; fetch it with: segloop models pull {model}")
        return Path(get_local_model_dir(model))
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise UnknownModel(f"there is no model folder {model}, and it is no nnInteractive model's id")
    return folder


def pull(model: str) -> Path:
    """Fetch an official model with the library's own model management (needs the network); returns its folder.

    Raises:
        UnknownModel: no such id, or it could not be fetched.
    """
    if not _is_official(model):
        raise UnknownModel(f"{model} is no nnInteractive model's id; they look like nnInteractive_v1.0")
    from nnInteractive.model_management import ensure_model_available

    try:
        return Path(ensure_model_available(model))
    except (RuntimeError, ValueError) as error:
        raise UnknownModel(str(error)) from error


def read_folder(path: Path, patches: int | None = None) -> ModelFolder:
    """Read a model folder without importing torch. `patches` goes before what the folder says about them.

    Raises:
        BadFile: a file is missing or says something that can't be used.
    """
    plans = _json(path / "plans.json")
    _check_architecture(plans)
    checkpoints = sorted(path.glob("fold_*/checkpoint_final.pth"))
    if len(checkpoints) != 1:
        raise BadFile(f"{path} has {len(checkpoints)} files fold_*/checkpoint_final.pth; it needs exactly one")
    info = _capabilities(path)
    takes = {**_DEFAULTS, **info.get("supported_interactions", {})}
    unknown = sorted(set(takes) - set(_INTERACTIONS))
    if unknown:
        raise BadFile(f"{path}/inference_info.json names unknown interactions: {', '.join(unknown)}")
    accepts = {_INTERACTIONS[name] for name, taken in takes.items() if taken}
    if info.get("supports_initial_label", True):
        accepts.add(InitialMask)
    wishes = _wishes(path)
    patches = wishes.patches if patches is None else patches
    sha256 = file_sha256(checkpoints[0])
    return ModelFolder(
        path=path,
        checkpoint=checkpoints[0],
        checkpoint_sha256=sha256,
        version=version_name(sha256, patches),
        licence=_licence(path, plans),
        patch=_largest_patch(plans),
        accepts=frozenset(accepts),
        boxes_3d=bool(takes["bbox3d"]),
        guard=wishes.guard,
        patches=patches,
        description=wishes.description,
    )


def version_name(sha256: str, patches: int | None) -> str:
    """A name for weights with this digest, used within a limit of patches."""
    return sha256[:12] + (f"-{patches}p" if patches is not None else "")


def check_checkpoint(folder: ModelFolder) -> None:
    """Raises `BadFile` unless the checkpoint holds tensors and plain values only: the library loads it with pickle,
    which would run any code that a file brings along. Numbers of numpy's pass: nnU-Net logs them while it trains."""
    import pickle

    import numpy as np
    import torch

    scalar: Any = np.float64(0).__reduce__()[0]  # numpy's constructor of scalars, which it has under two names
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    allowed: list[Any] = [np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?"))]
    allowed += [(scalar, name) for name in names]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(folder.checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise BadFile(f"{folder.checkpoint} holds more than weights, or is damaged: {error}") from error
    missing = {"network_weights", "trainer_name", "init_args"} - set(content if isinstance(content, dict) else ())
    if missing:
        raise BadFile(f"{folder.checkpoint} is no nnInteractive checkpoint: it has no {', '.join(sorted(missing))}")


def _is_official(model: str) -> bool:
    return re.fullmatch(r"nnInteractive_[A-Za-z0-9_.\-]+", model) is not None


def _capabilities(path: Path) -> dict[str, Any]:
    if (path / "inference_info.json").exists():
        return _json(path / "inference_info.json")
    if (path / "inference_session_class.json").exists():
        return {}  # the first release; the library fills in the defaults
    raise BadFile(f"{path} has no inference_info.json; it is no nnInteractive model folder")


@dataclass(frozen=True)
class _Wishes:
    """What segloop.json asks for."""

    guard: bool = False
    patches: int | None = None
    description: str = _DESCRIPTION


def _wishes(path: Path) -> _Wishes:
    content = _json(path / "segloop.json") if (path / "segloop.json").exists() else {}
    patches = content.get("patches")
    if patches is not None and (type(patches) is not int or patches < 0):
        raise BadFile(f"{path}/segloop.json: patches is a whole number from 0, not {patches!r}")
    return _Wishes(bool(content.get("guard", False)), patches, str(content.get("description", _DESCRIPTION)))


def _check_architecture(plans: dict[str, Any]) -> None:
    """nnU-Net builds the class that a plans file names and imports what its arguments name, whatever it is."""
    for name, configuration in plans.get("configurations", {}).items():
        architecture = configuration.get("architecture")
        if architecture is None:
            continue
        network = str(architecture.get("network_class_name"))
        if not network.startswith("dynamic_network_architectures.architectures.") and network != _OWN_NETWORK:
            raise BadFile(f"the configuration {name} in plans.json names {network}, which is no nnU-Net architecture")
        arguments = architecture.get("arch_kwargs", {})
        for key in architecture.get("_kw_requires_import", ()):
            value = arguments.get(key)
            if value is not None and not str(value).startswith("torch.nn."):
                raise BadFile(f"the configuration {name} in plans.json names {value} for {key}; only torch.nn is used")


def _largest_patch(plans: dict[str, Any]) -> Index:
    """Which configuration is used stands in the checkpoint; the largest is the careful guess for memory."""
    patches = [c["patch_size"] for c in plans.get("configurations", {}).values() if len(c.get("patch_size", ())) == 3]
    if not patches:
        raise BadFile("plans.json has no 3D configuration with a patch size")
    k, j, i = max(patches, key=lambda patch: int(patch[0]) * int(patch[1]) * int(patch[2]))
    return int(k), int(j), int(i)


def _licence(path: Path, plans: dict[str, Any]) -> str:
    if (path / "LICENSE").exists():
        lines = (path / "LICENSE").read_text(encoding="utf-8").splitlines()
        named = [line.strip() for line in lines if line.strip()]
        if named:
            return named[0]
    # The first official release came without the file (the library knows it by the same name).
    return "CC BY-NC-SA 4.0" if plans.get("dataset_name") == _OFFICIAL_DATASET else "unknown"


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFile(f"{path} can't be read: {error}") from error
    if not isinstance(content, dict):
        raise BadFile(f"{path} is not a JSON object")
    return content
