"""From a spec to a network, and the one set of weights that a model serves at the moment."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.core.training import ModelSpec
from app.errors import BadFile, ModelNotTrained
from app.models.device import Device
from app.models.precision import in_precision
from app.models.trained.spec import Version, read_version, read_weights

if TYPE_CHECKING:
    import torch


def build_network(spec: ModelSpec) -> torch.nn.Module:
    """A network with fresh weights on the processor: the class `spec.network` of `monai.networks.nets`, and of nothing
    else, since a spec is a file that may come from outside.

    Raises:
        BadFile: there is no such network, or it doesn't take these arguments.
    """
    import torch
    from monai.networks import nets

    kind: Any = getattr(nets, spec.network, None)
    is_network = isinstance(kind, type) and issubclass(kind, torch.nn.Module)
    if not is_network or not kind.__module__.startswith("monai.networks.nets."):
        raise BadFile(f"monai.networks.nets has no network {spec.network!r}")
    if spec.arguments.get("pretrained"):
        raise BadFile("networks are built without weights from the internet: leave out 'pretrained'")
    try:
        network: torch.nn.Module = kind(**spec.arguments)
    except Exception as error:  # whatever a constructor makes of arguments that don't fit
        raise BadFile(f"{spec.network} can't be built with {dict(spec.arguments)}: {error}") from error
    return network


def load_weights(network: torch.nn.Module, path: Path, sha256: str = "") -> None:
    """Put stored weights into `network`. Raises `BadFile` or `IntegrityError`; see `read_weights`."""
    weights = read_weights(path, sha256)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise BadFile(f"the weights in {path} don't fit the network: {error}") from error


def replace_weights(network: torch.nn.Module, weights: Mapping[str, torch.Tensor], source: str) -> None:
    """Put some of a network's weights into it. Raises `BadFile` if it hasn't got one of them, naming `source`."""
    try:
        unknown = network.load_state_dict(weights, strict=False).unexpected_keys
    except RuntimeError as error:
        raise BadFile(f"the weights in {source} don't fit the network: {error}") from error
    if unknown:
        raise BadFile(f"the weights in {source} don't fit the network, which has no {', '.join(sorted(unknown)[:5])}")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A version in memory. `network` takes and gives float32 on `device`; use it under `torch.no_grad()`."""

    version: Version
    network: torch.nn.Module
    device: str

    @property
    def spec(self) -> ModelSpec:
        return self.version.spec


class Served:
    """A pointer to the version a model serves, loaded when first asked for. Thread-safe.

    Whoever holds a `Loaded` keeps it: moving the pointer affects only what starts afterwards. `snapshot` serves an
    earlier file of weights of the same version.
    """

    def __init__(self, folder: Path | None, device: Device, snapshot: Path | None = None) -> None:
        self._device = device
        self._snapshot = snapshot
        self._lock = threading.Lock()
        self._version = read_version(folder) if folder is not None else None
        self._loaded: Loaded | None = None

    @property
    def version(self) -> Version | None:
        return self._version

    @property
    def ready(self) -> bool:
        return self._version is not None and self._version.weights is not None

    def get(self) -> Loaded:
        """The served version, loaded. Raises `ModelNotTrained` while there are no weights."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load(self._version)
            return self._loaded

    def use(self, folder: Path) -> None:
        """Serve another version from now on. It is loaded first; if that fails nothing has changed."""
        version = read_version(folder)
        loaded = self._load(version)
        with self._lock:
            self._version, self._loaded = version, loaded

    def earlier(self) -> list[Served]:
        """One `Served` per snapshot of the current version, newest first."""
        version = self._version
        if version is None:
            return []
        return [Served(version.folder, self._device, snapshot) for snapshot in version.snapshots]

    def _load(self, version: Version | None) -> Loaded:
        if version is None or version.weights is None:
            raise ModelNotTrained("this model has no weights yet; train it or import some first", retry_after=60.0)
        network: Any = build_network(version.spec)
        if self._snapshot is not None:
            load_weights(network, self._snapshot)
        else:
            load_weights(network, version.weights, version.sha256)
        name = self._device.torch_name
        network = network.to(name).eval().requires_grad_(False)
        return Loaded(version, in_precision(network, self._device.precision, name), name)
