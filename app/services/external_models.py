"""Models that clients load (see docs/protocols/itkit.md), and this server's own automatic models beside them.

A client names a file or a registered model. The name is compared with a listing of the model directory, and only files
from that listing are opened: a path from a client never reaches the file system, so it can't reveal which files exist.

Locks: `_lock` guards the current and the named models and is held briefly. Loading and segmenting hold no lock: a
running segmentation keeps a reference to its model, whatever is loaded or unloaded meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import normpath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.model import ModelCard
from app.core.progress import ignore_progress
from app.core.volume import Geometry, Volume
from app.errors import (
    BadInput,
    BadOption,
    ConfigurationError,
    NotSupported,
    ResourceExhausted,
    SegloopError,
    UnknownModel,
)
from app.formats.grids import GridView, view_towards
from app.models.device import Device, Priority
from app.models.itkit.engine import Engine
from app.models.itkit.grey_window import GreyHint, GreyWindow
from app.models.itkit.inference_config import InferenceConfig
from app.models.itkit.mmengine import MMEngineFiles, MMEngineModel
from app.models.itkit.onnx import open_onnx
from app.services.models import ModelService
from app.settings import Settings
from app.workspace import Workspace, safe_name

logger = logging.getLogger(__name__)

MAX_NAMED = 64
"""How many models clients may keep loaded by name at the same time."""

OWN = "segloop"
"""The backend name of this server's own models."""


class NotLoaded(UnknownModel):
    """No model is loaded under `name`; with "", no model is loaded at all."""

    def __init__(self, name: str = "") -> None:
        super().__init__(f"no model {name!r} is loaded" if name else "no model is loaded")
        self.name = name


class NotOffered(UnknownModel):
    """The model that a client `asked` for is neither in the model directory nor in the settings."""

    def __init__(self, asked: str) -> None:
        super().__init__(f"there is no model {asked!r} to load")
        self.asked = asked


class NoConfiguration(UnknownModel):
    """A client asked for an MMEngine model with a `configuration` that isn't the model's."""

    def __init__(self, configuration: str) -> None:
        super().__init__(f"{configuration!r} is not the configuration of that MMEngine model")
        self.configuration = configuration


class UnknownBackend(NotSupported):
    """A client asked for a `backend` that doesn't exist."""

    def __init__(self, backend: str) -> None:
        super().__init__(f"no backend {backend!r}; there are: onnx, mmengine")
        self.backend = backend


class NoGreyWindow(BadInput):
    """Neither the request nor the model sets a grey window."""

    def __init__(self) -> None:
        super().__init__("the model doesn't say which grey window it wants; set a level and a width")


@dataclass(frozen=True)
class LoadRequest:
    """What a client asks for. `config` is for the backend mmengine; `options` are the client's `inference_config`."""

    backend: str
    model: str = ""
    config: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model that can segment. `request` is how it was loaded; without an `engine` it is one of this server's own
    models, `request.model`."""

    name: str
    request: LoadRequest
    engine: Engine | None = None

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self.engine is None or self.engine.loaded


@dataclass(frozen=True)
class Handling:
    """How to prepare an image and return its labels.

    `windowed` reorients the image to LPI and scales it to a grey window, whose `level` and `width` override the
    model's; otherwise the network gets values and axes unchanged. `lpi_grid` returns the labels on the LPI grid.
    `force_cpu` applies to this image only. This server's own models prepare images themselves and only use `lpi_grid`.
    """

    windowed: bool = False
    level: float | None = None
    width: float | None = None
    lpi_grid: bool = False
    force_cpu: bool = False


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Class numbers, uint8 `(k, j, i)`, 0 for background."""

    labels: NDArray[np.uint8]
    geometry: Geometry


class ExternalModels:
    """One current model, and up to `MAX_NAMED` that clients loaded under a name. Thread-safe."""

    def __init__(self, settings: Settings, models: ModelService, device: Device, paths: Workspace) -> None:
        """Raises `ConfigurationError` if the model directory doesn't exist."""
        if settings.model_dir is not None and not settings.model_dir.is_dir():
            raise ConfigurationError(f"model_dir: {settings.model_dir} is no folder")
        self._settings = settings
        self._own = models
        self._device = device
        self._paths = paths
        self._lock = threading.Lock()
        self._current: LoadedModel | None = None
        self._named: dict[str, LoadedModel] = {}

    def load(self, request: LoadRequest) -> LoadedModel:
        """Load a model and make it the current one; on an error the previous one stays.

        Raises `NotOffered`, `NoConfiguration`, `UnknownBackend`, `BadOption` for an invalid inference configuration,
        and `BadFile` for an unusable model.
        """
        loaded = self._opened(None, request)
        with self._lock:
            self._current = loaded
        return loaded

    def load_named(self, name: str, request: LoadRequest) -> LoadedModel:
        """Load a model under a name, replacing the previous one of that name. Raises as `load`, and
        `ResourceExhausted`."""
        if name in self._own_ready():
            raise BadOption(f"{name} is one of this server's own models; load yours under another name")
        loaded = self._opened(name, request)
        with self._lock:
            if name not in self._named and len(self._named) >= MAX_NAMED:
                raise ResourceExhausted(f"{MAX_NAMED} models are loaded; unload one first")
            self._named[name] = loaded
        return loaded

    def unload(self) -> LoadedModel:
        """Unload the current model, or else the first named one. This server's own models stay. Raises `NotLoaded` if
        there is nothing to unload."""
        with self._lock:
            if self._current is not None:
                gone, self._current = self._current, None
                return gone
            if self._named:
                return self._named.pop(next(iter(self._named)))
        raise NotLoaded

    def unload_named(self, name: str) -> LoadedModel:
        """Unload a model by its name. Raises `NotLoaded`, and `BadOption` for one of this server's own."""
        with self._lock:
            if name in self._named:
                return self._named.pop(name)
            if self._current is not None and self._current.name == name:
                gone, self._current = self._current, None
                return gone
        if name in self._own_ready():
            raise BadOption(f"{name} is one of this server's own models; it can't be unloaded")
        raise NotLoaded(name)

    def current(self) -> LoadedModel | None:
        """The model last loaded without a name, else the first named one, else the first of this server's own automatic
        models; None if there is none."""
        with self._lock:
            if self._current is not None:
                return self._current
            named = next(iter(self._named.values()), None)
        return named or next(iter(self._own_ready().values()), None)

    def all(self) -> dict[str, LoadedModel]:
        """Every model that can segment, by name."""
        with self._lock:
            current = {self._current.name: self._current} if self._current is not None else {}
            return {**self._own_ready(), **current, **self._named}

    def get(self, name: str) -> LoadedModel:
        """A model by its name. Raises `NotLoaded`."""
        found = self.all().get(name)
        if found is None:
            raise NotLoaded(name)
        return found

    def load_directory(self) -> None:
        """Load every ONNX model of the model directory under its file name. Unusable ones are logged and skipped."""
        for relative in self._files():
            name = Path(relative).stem
            if name in self.all():
                name = relative.removesuffix(".onnx")
            try:
                self.load_named(name, LoadRequest("onnx", relative))
            except SegloopError as error:
                logger.warning("%s in the model directory is not served: %s", relative, error)

    def close(self) -> None:
        """Unload all models."""
        with self._lock:
            self._current = None
            self._named.clear()

    def cards(self) -> int:
        """How many graphics cards models may run on."""
        if self._settings.device == "cpu":
            return 0
        import torch

        return torch.cuda.device_count() if torch.cuda.is_available() else 0

    def segment(self, model: LoadedModel, volume: Volume, handling: Handling, who: str) -> LabelMap:
        """Segment an image. Raises `NoGreyWindow`, `BadInput` for values that aren't finite, `BadFile` for a model that
        fails, `ResourceExhausted`, and whatever this server's own models raise."""
        turned = view_towards(volume.geometry, "LPI")
        if model.engine is None:
            labels = self._by_own_model(model.request.model, volume, who)
            return (
                LabelMap(turned.of(labels), turned.geometry) if handling.lpi_grid else LabelMap(labels, volume.geometry)
            )
        grey = _grey(model.engine, handling)
        if not handling.windowed and not handling.lpi_grid:
            return LabelMap(self._by_engine(model.engine, volume.voxels, grey, handling, who), volume.geometry)
        found = self._by_engine(model.engine, turned.of(volume.voxels), grey, handling, who)
        return LabelMap(found, turned.geometry) if handling.lpi_grid else _turned_back(found, turned, volume.geometry)

    def _by_engine(
        self,
        engine: Engine,
        voxels: NDArray[np.generic],
        grey: GreyWindow | None,
        handling: Handling,
        who: str,
    ) -> NDArray[np.uint8]:
        def work() -> NDArray[np.uint8]:
            return engine.label(voxels, grey, force_cpu=handling.force_cpu)

        return self._device.run(work, Priority.AUTOMATIC, who) if engine.on_device else work()

    def _by_own_model(self, name: str, volume: Volume, who: str) -> NDArray[np.uint8]:
        automatic = self._own.automatic(name)
        mask = self._device.run(lambda: automatic.segment(volume, ignore_progress, {}), Priority.AUTOMATIC, who)
        if len(mask.segments) > 255:
            raise NotSupported("labels have one byte a voxel here, so at most 255 structures")
        return mask.labelmap().astype(np.uint8, copy=False)

    def _own_ready(self) -> dict[str, LoadedModel]:
        return {card.name: _own(card.name) for card in self._own.cards() if _segments_alone(card)}

    def _opened(self, name: str | None, request: LoadRequest) -> LoadedModel:
        if request.model in self._own_ready():
            return LoadedModel(name or request.model, _own(request.model).request)
        config = InferenceConfig.read(request.options)
        if request.backend.lower() == "mmengine":
            key = self._registered(request)
            return LoadedModel(name or key, request, self._mmengine(key, request.options))
        file = self._file(request.model)
        if request.backend.lower() != "onnx":
            raise UnknownBackend(request.backend)
        return LoadedModel(
            name or file.stem, request, open_onnx(file, self._device, config, threads=self._settings.threads)
        )

    def _file(self, asked: str) -> Path:
        """The requested file of the model directory. Raises `NotOffered` for anything else."""
        folder = self._settings.model_dir
        for relative, file in self._files().items():
            if folder is not None and normpath(asked) in (relative, str(folder / relative), str(file)):
                return file
        raise NotOffered(asked)

    def _files(self) -> dict[str, Path]:
        """The ONNX files of the model directory by relative path. Links that lead out of it are ignored."""
        if self._settings.model_dir is None:
            return {}
        folder = self._settings.model_dir.resolve()
        found = {path.relative_to(folder).as_posix(): path.resolve() for path in sorted(folder.rglob("*.onnx"))}
        return {name: path for name, path in found.items() if path.is_relative_to(folder) and path.is_file()}

    def _registered(self, request: LoadRequest) -> str:
        """The key of the requested MMEngine model; the request has its key in at least one field, or both its files.

        Raises `NotOffered`, `NoConfiguration`.
        """
        for key, entry in self._settings.mmengine.items():
            model, config = (key, str(entry.checkpoint)), (key, str(entry.config))
            fits = request.model in ("", *model) and request.config in ("", *config)
            if fits and (key in (request.model, request.config) or (request.model and request.config)):
                return key
        known = {name for key, entry in self._settings.mmengine.items() for name in (key, str(entry.checkpoint))}
        if request.model in known:
            raise NoConfiguration(request.config)
        raise NotOffered(request.model)

    def _mmengine(self, key: str, options: Mapping[str, Any]) -> MMEngineModel:
        entry = self._settings.mmengine[key]
        files = MMEngineFiles(entry.config, entry.checkpoint, entry.python, entry.load_seconds, entry.infer_seconds)
        log = self._paths.log.parent / f"mmengine-{safe_name(key)}.log"
        return MMEngineModel(files, options, self._settings.device, log)


def _own(name: str) -> LoadedModel:
    return LoadedModel(name, LoadRequest(OWN, name))


def _segments_alone(card: ModelCard) -> bool:
    return card.ready and not card.takes_prompts


def _grey(engine: Engine, handling: Handling) -> GreyWindow | None:
    if not handling.windowed:
        return None
    window = GreyHint(handling.level, handling.width).over(engine.grey).window()
    if window is None:
        raise NoGreyWindow
    return window


def _turned_back(labels: NDArray[np.uint8], turned: GridView, geometry: Geometry) -> LabelMap:
    """Copy labels from the reoriented grid back to the original one."""
    back = np.empty(geometry.shape, np.uint8)
    turned.of(back)[...] = labels
    return LabelMap(back, geometry)
