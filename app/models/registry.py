"""The types of models that settings can name: what each is built from, and what else the server may do with it.

A type is declared beside its class, in one file: here in `app/models`, or in another package that offers it under the
entry point `segloop.models` (see `app.plugins`). Nothing heavy happens here or when a model is built: weights load
when they are first used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from app.core.model import AnyModel, ModelKind
from app.plugins import Registry

if TYPE_CHECKING:
    from app.models.device import Device
    from app.models.trained.spec import Version


@dataclass(frozen=True)
class ModelOptions:
    """What a model is built from.

    `source` is the setting of that name; each type says what it means. `version` is the served version folder of a
    trained type, None while there is none. `labels` are the structures of the settings, for models that learn them.
    `patches` is the setting of that name.
    """

    source: str = ""
    version: Path | None = None
    labels: tuple[str, ...] = ()
    patches: int | None = None


class Importer(Protocol):
    """Makes a version folder from weights that were trained elsewhere."""

    def __call__(self, file: Path, labels: tuple[str, ...], into: Path, *, allow_code: bool = False) -> Version:
        """Write the version folder `into`. `labels` are those of the model's card. Without `allow_code` no file is
        taken that is a program. Raises `BadFile`, `BadOption`."""


@dataclass(frozen=True)
class ModelType:
    """One type of model. `name` is what settings call it; `kind` is that of its models' cards.

    `build` makes a model from the name that people see; it raises `UnknownModel` (its source isn't there), `BadFile`
    (its source can't be used) or `ConfigurationError` (something is missing).
    `trained`: its weights are version folders, made by this server's trainers or imported; its models keep `Swappable`.
    `importer`: how weights that were trained elsewhere become a version; only for trained types.
    `scored`: scorers can look into its models; they keep `ProbabilisticModel`.
    `sample` writes into an empty folder what a small model of the type is built from; the contract tests use it. Types
    that need nothing, or get a row in `tests/contracts/model_samples.py`, have none.
    """

    name: str
    kind: ModelKind
    build: Callable[[str, ModelOptions, Device], AnyModel]
    trained: bool = False
    importer: Importer | None = None
    scored: bool = False
    sample: Callable[[Path], ModelOptions] | None = None


MODEL_TYPES = Registry(ModelType, "model type", "app.models", "segloop.models")
"""Every type there is."""
