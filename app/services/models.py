"""The served models: their cards, the versions they use, and changing those."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast
from weakref import WeakValueDictionary

import numpy as np

from app.core.mask import Algorithm
from app.core.model import (
    AnyModel,
    AutomaticModel,
    CorrectableModel,
    InteractiveModel,
    ModelCard,
    ModelVersion,
    Swappable,
    version_before,
)
from app.core.prompt import Point, Prompt
from app.core.volume import Geometry, Volume
from app.errors import Cancelled, ConfigurationError, ModelNotTrained, NotSupported, SegloopError, UnknownModel
from app.models.device import Device, Priority
from app.project.open_models import model_type, open_model, served_version
from app.project.project import Project

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightsInfo:
    """A weights file. `modified` is in seconds since the epoch."""

    sha256: str
    modified: float


class ModelService:
    """Looks up models and points them at versions. `models` are those of the settings, in their order. Thread-safe."""

    def __init__(self, project: Project, models: Mapping[str, AnyModel], device: Device) -> None:
        self._project = project
        self._models = models
        self._device = device
        # Earlier versions, open as long as a session uses them.
        self._earlier: WeakValueDictionary[tuple[str, str], InteractiveModel] = WeakValueDictionary()
        self._moving = threading.Lock()
        self._pointed: dict[str, str] = {}
        self.refresh()

    def cards(self) -> list[ModelCard]:
        """The cards of all models, in the order of the settings."""
        return [self.card(name) for name in self._models]

    def card(self, name: str) -> ModelCard:
        """A model's card. Raises `UnknownModel`."""
        card = self._get(name).card
        # Until it is trained, a model that learns the project's structures shows those of the settings.
        if not (card.labels or card.takes_prompts or card.ready):
            return replace(card, labels=tuple(self._project.settings.labels.structures))
        return card

    def interactive(self, name: str) -> InteractiveModel:
        """A model that takes prompts. Raises `UnknownModel`, `NotSupported`, `ModelNotTrained`."""
        model = self._get(name)
        if not model.card.takes_prompts:
            raise NotSupported(f"{name} takes no prompts")
        return cast(InteractiveModel, _ready(model))

    def interactive_at(self, name: str, version: str) -> InteractiveModel | None:
        """A model that takes prompts, with the weights of `version`: the served ones, or earlier ones from the model
        store. None if they don't exist any more. Raises as `interactive`."""
        served = self.interactive(name)
        if served.card.version == version:
            return served
        if not model_type(self._project, name).trained:
            return None  # the model store has versions of trained types only
        listed = self._project.catalog.versions.listed(name)
        # Types with a base name their weights by digest, as model folders without versions are named.
        stored = next((one for one in listed if version in {Path(one.folder).name, *_digests(one, version)}), None)
        if stored is None:
            return None
        with self._moving:
            model = self._earlier.get((name, version))
            if model is None:
                try:
                    model = cast(InteractiveModel, open_model(self._project, name, self._device, stored))
                except ConfigurationError:
                    logger.exception("version %s can't be loaded", stored.id)
                    return None
                self._earlier[name, version] = model
        return model if model.card.ready and model.card.version == version else None

    def default_interactive(self) -> str:
        """The first interactive model of the settings, for viewers that can't choose one. Raises `UnknownModel`."""
        for name, model in self._models.items():
            if model.card.kind == "interactive":
                return name
        raise UnknownModel("this server has no interactive model; its settings name none (setting models)")

    def warm_up(self) -> None:
        """Load the default interactive model and let it predict once, on a few made-up voxels: its library, its weights
        and the first forward take seconds, which the first click would wait for. Failures are logged only; whoever
        clicks is told the reason."""
        try:
            model = self.interactive(self.default_interactive())
        except SegloopError:
            return  # there is none, or it isn't trained yet
        voxels = np.random.default_rng(0).normal(size=(32, 32, 32)).astype(np.float32)
        volume = Volume(voxels, Geometry((32, 32, 32), np.eye(4)))

        try:
            # Opened on this thread, as for a request: loading takes the model's lock and then the device, never both in
            # the other order.
            session = model.open(volume, {})
            try:
                self._device.run(lambda: session.add(Point((16, 16, 16))), Priority.BACKGROUND)
            finally:
                session.close()
        except Cancelled:
            pass  # the server is stopping
        except Exception:
            logger.exception("the model %s could not be warmed up", model.card.name)

    def automatic(self, name: str) -> AutomaticModel:
        """A model that takes no prompts. Raises as `interactive`."""
        model = self._get(name)
        if model.card.takes_prompts:
            raise NotSupported(f"{name} is not an automatic model")
        return cast(AutomaticModel, _ready(model))

    def correctable(self, name: str) -> CorrectableModel:
        """A model that takes points per label. Raises as `interactive`."""
        model = self._get(name)
        if model.card.kind != "deepedit":
            raise NotSupported(f"{name} takes no points per label")
        return cast(CorrectableModel, _ready(model))

    def accepts(self, name: str) -> frozenset[type[Prompt]]:
        """The types of prompts a model takes, trained or not; empty if it isn't interactive. Raises `UnknownModel`."""
        model = self._get(name)
        return cast(InteractiveModel, model).accepts if model.card.takes_prompts else frozenset()

    def probabilistic(self) -> list[str]:
        """Names of the models that scorers can use."""
        return [name for name in self._models if model_type(self._project, name).scored]

    def fine_tuned(self) -> list[str]:
        """Names of the models whose training goes on from weights made elsewhere."""
        return [name for name in self._models if model_type(self._project, name).base is not None]

    def provenance(self, name: str) -> Algorithm:
        """The Segment Algorithm Type (PS3.3 C.8.20.2) of a label submitted after using a model: a result that a person
        checked is SEMIAUTOMATIC, whatever made it; MANUAL if `name` is no model."""
        return "SEMIAUTOMATIC" if name in self._models else "MANUAL"

    def version(self, name: str) -> str:
        """The version in a model's card; "" without weights, and for an unknown model."""
        return self._models[name].card.version if name in self._models else ""

    def version_served(self, name: str) -> str:
        """The id of a model's served version; "" if it has none."""
        served = self._project.catalog.versions.served(name)
        return served.id if served is not None else ""

    def weights_file(self, name: str) -> Path:
        """The weights file of a model's served version. Raises `UnknownModel`, `ModelNotTrained`."""
        self._get(name)
        served = self._project.catalog.versions.served(name)
        if served is None:
            raise ModelNotTrained(f"{name} has no weights of this server's own yet", retry_after=60)
        file = self._project.paths.models / served.folder / "weights.pt"
        if not file.is_file():
            raise ModelNotTrained(f"{name} serves the weights that it began with, none of this server's own yet", 60)
        return file

    def weights_info(self, name: str) -> WeightsInfo:
        """Digest and time of `weights_file`. Raises `UnknownModel`, `ModelNotTrained`."""
        file = self.weights_file(name)
        served = self._project.catalog.versions.served(name)
        return WeightsInfo(served.sha256 if served else "", file.stat().st_mtime)

    def import_weights(self, name: str, file: Path, who: str, trusted: bool = False) -> WeightsInfo:
        """Make a new version from a weights file, such as MONAI Label's `.pt` (a state dict), and serve it. The
        importer of the model's type decides which files it accepts.

        TorchScript (`.ts`) is code and accepted only with `trusted`, which only the command line sets. Raises
        `BadFile`, `BadOption`, `NotSupported`, `UnknownModel`.
        """
        labels = self.card(name).labels
        type_ = model_type(self._project, name)
        if type_.importer is None:
            raise NotSupported(f"weights of {name} ({type_.name}) can't be replaced this way")
        number = self._project.catalog.versions.next_number(name)
        folder = self._project.paths.models / name / str(number)
        version = type_.importer(file, labels, folder, allow_code=trusted)
        self._project.catalog.versions.add(
            ModelVersion(
                id=f"{name}-{number}",
                model=name,
                number=number,
                parent="",
                folder=str(folder.relative_to(self._project.paths.models)),
                sha256=version.sha256,
                state="published",
                reason=f"imported by {who}",
                metrics={},
                label_ids=(),
                licence="",
                job_id="",
                created=time.time(),
            ),
            serve=True,
            who=who,
        )
        self.refresh()
        return WeightsInfo(version.sha256, time.time())

    def serve(self, version_id: str, who: str) -> ModelVersion:
        """Serve one of a model's versions: to publish it by hand, or to roll back. Raises `UnknownModel`."""
        version = self._project.catalog.versions.serve(version_id, who)
        self.refresh()
        return version

    def roll_back(self, name: str, who: str) -> ModelVersion:
        """Serve the published version before the one served now. Raises `UnknownModel` if there is none."""
        self._get(name)
        versions = self._project.catalog.versions
        before = version_before(versions.listed(name), versions.served(name))
        if before is not None:
            return self.serve(before.id, who)
        raise UnknownModel(f"{name} has no earlier published version to go back to")

    def versions(self, name: str | None = None) -> list[ModelVersion]:
        """The versions of one model or of all, newest first."""
        return self._project.catalog.versions.listed(name)

    def refresh(self) -> None:
        """Load the versions that the catalog says are served; job processes change that. If one can't be loaded, this
        is logged and the model keeps the version it has."""
        with self._moving:
            for name, model in self._models.items():
                if not model_type(self._project, name).trained:
                    continue
                try:
                    served = served_version(self._project, name)
                except SegloopError:
                    logger.exception("the served version of %s can't be read", name)
                    continue
                if served is None or self._pointed.get(name) == served.id:
                    continue
                try:
                    cast(Swappable, model).use(self._project.paths.models / served.folder)
                except SegloopError:
                    logger.exception("version %s can't be loaded; %s keeps its current version", served.id, name)
                self._pointed[name] = served.id

    def _get(self, name: str) -> AnyModel:
        if name not in self._models:
            raise UnknownModel(f"no model {name!r}; there are: {', '.join(self._models)}")
        return self._models[name]


def _digests(version: ModelVersion, named: str) -> set[str]:
    """`named`, if it is a name for weights of this version's digest."""
    return {named} if len(named) >= 12 and version.sha256.startswith(named[:12]) else set()


def _ready(model: AnyModel) -> AnyModel:
    if not model.card.ready:
        raise ModelNotTrained(f"{model.card.name} has no weights yet; submit labels and train it, or import some", 60)
    return model
