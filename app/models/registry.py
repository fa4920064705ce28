"""The model types that settings can name: how each is built, and what the server can do with it.

A type is declared beside its class, in one file: here in `app/models`, or in another package under the entry point
`segloop.models` (see `app.plugins`). Building a model is cheap: weights are loaded at first use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from app.core.model import AnyModel, ModelKind
from app.core.training import ModelSpec
from app.plugins import Registry

if TYPE_CHECKING:
    import torch

    from app.models.device import Device
    from app.models.trained.spec import Version


@dataclass(frozen=True)
class ModelOptions:
    """What a model is built from.

    `source` and `patches` are the settings of these names; the meaning of `source` depends on the type. `version` is
    the served version folder of a trained type, None while there is none. `store` is the folder of all versions of this
    model, to one of which another may refer. `labels` are the structures of the settings, for models that learn them.
    """

    source: str = ""
    version: Path | None = None
    store: Path | None = None
    labels: tuple[str, ...] = ()
    patches: int | None = None


class Importer(Protocol):
    """Makes a version folder from weights that were trained elsewhere."""

    def __call__(self, file: Path, labels: tuple[str, ...], into: Path, *, allow_code: bool = False) -> Version:
        """Write the version folder `into`. `labels` are those of the model's card. Files that contain code are accepted
        only with `allow_code`. Raises `BadFile`, `BadOption`."""


@dataclass(frozen=True)
class BaseCopy:
    """A copy of a model's base, as a version folder. `sha256` and `licence` are those of its weights."""

    version: Version
    sha256: str
    licence: str


class Base(Protocol):
    """The weights that training of a model begins from, made elsewhere, and named by the setting `source`.

    A copy of them is the model's first version, so that it can be compared with and gone back to. What is trained from
    it holds only what differs.
    """

    def copy(self, options: ModelOptions, into: Path) -> BaseCopy:
        """Write the version folder `into`. Raises `UnknownModel`, `BadFile`."""

    def began_with(self, version: Path, options: ModelOptions) -> bool:
        """Whether a version folder was made from what `options.source` names. Raises `BadFile`."""

    def network(self, spec: ModelSpec, store: Path) -> torch.nn.Module:
        """The network on the processor with the base's weights, in float32, to be trained. Raises `BadFile`."""


@dataclass(frozen=True)
class ModelType:
    """One type of model. `name` is its name in the settings (`models.<name>.type`), `kind` that of its models' cards.

    `build` creates a model with a given name; it raises `UnknownModel` (its source doesn't exist), `BadFile` (its
    source is unusable) or `ConfigurationError` (a setting is missing).
    `trained`: its weights are version folders, trained here or imported; its models implement `Swappable`.
    `base`: for trained types whose training goes on from weights made elsewhere.
    `importer`: makes a version from weights that were trained elsewhere; for trained types only.
    `scored`: scorers can use its models; they implement `ProbabilisticModel`.
    `sample` writes the files of a small model of this type into an empty folder, for the contract tests. Types that
    need no files, or have a row in `tests/contracts/model_samples.py`, have none.
    """

    name: str
    kind: ModelKind
    build: Callable[[str, ModelOptions, Device], AnyModel]
    trained: bool = False
    base: Base | None = None
    importer: Importer | None = None
    scored: bool = False
    sample: Callable[[Path], ModelOptions] | None = None


MODEL_TYPES = Registry(ModelType, "model type", "app.models", "segloop.models")
"""All model types: built-in ones and those of installed packages."""
