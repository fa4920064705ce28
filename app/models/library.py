"""From a line of configuration to a model. Nothing heavy happens here: weights load when a model is first used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from app.core.model import AutomaticModel, InteractiveModel
from app.errors import ConfigurationError
from app.models.device import Device
from app.models.nninteractive.library import Storage
from app.settings import ModelType

TRAINED: frozenset[ModelType] = frozenset({"deepgrow_2d", "deepgrow_3d", "deepedit", "segmentation"})
"""Types whose weights come from this server's trainers, as version folders."""


@dataclass(frozen=True)
class ModelOptions:
    """What a model is made of.

    `source` is nninteractive's model (`demo`, an official id, or a folder) or bundle's folder. `version` is the served
    version folder of a trained type, None while there is none; `labels` are what it then says it is for. `storage` and
    `autozoom` are nninteractive's.
    """

    type: ModelType
    source: str = ""
    version: Path | None = None
    labels: tuple[str, ...] = ()
    storage: Storage = "blosc2"
    autozoom: bool = True


@runtime_checkable
class Swappable(Protocol):
    """A model whose weights can be exchanged while it serves."""

    def use(self, folder: Path) -> None:
        """Serve another folder's weights from now on. What is open keeps the old ones; on an error nothing changes."""


def build_model(name: str, options: ModelOptions, device: Device) -> InteractiveModel | AutomaticModel:
    """The model that `options` describe, under the name that people see.

    Raises:
        UnknownModel: its folder isn't there. BadFile: its folder can't be used.
        ConfigurationError: something that the type needs is missing.
    """
    if options.type == "nninteractive":
        from app.models.nninteractive.folder import find_folder
        from app.models.nninteractive.model import NnInteractive

        folder = find_folder(options.source or "demo")
        return NnInteractive(name, folder, device, storage=options.storage, autozoom=options.autozoom)
    if options.type in TRAINED:
        return _trained(name, options, device)
    if options.type in {"histogram_graphcut", "gmm_graphcut"}:
        from app.models.scribbles import Scribbles

        return Scribbles(name, "histogram" if options.type == "histogram_graphcut" else "gmm")
    if options.type == "bundle":
        from app.models.bundle import Bundle

        if not options.source:
            raise ConfigurationError(f"the model {name} is a bundle; set its source to the bundle's folder")
        return Bundle(name, Path(options.source), device)
    from app.models.fake import FakeAutomatic, FakeInteractive

    if options.type == "fake":
        return FakeInteractive(name)
    return FakeAutomatic(options.labels or ("structure",), name)


def _trained(name: str, options: ModelOptions, device: Device) -> InteractiveModel | AutomaticModel:
    from app.models.trained.deepedit import DeepEdit
    from app.models.trained.deepgrow import Deepgrow
    from app.models.trained.networks import Served
    from app.models.trained.segmentation import Segmentation

    served = Served(options.version, device)
    if options.type == "deepedit":
        return DeepEdit(name, served, device, options.labels)
    if options.type == "segmentation":
        return Segmentation(name, served, device, options.labels)
    return Deepgrow(name, served, device, flat=options.type == "deepgrow_2d")
