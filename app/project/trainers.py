"""The trainer of a model, and whether the two fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from app.core.training import ModelSpec, Trainer
from app.errors import ConfigurationError
from app.plugins import trainers
from app.project.project import Project


def trainer_of(project: Project, model: str, options: Mapping[str, Any]) -> Trainer:
    """The trainer of a model in the settings, with its options there, overridden by `options`.

    Raises `ConfigurationError` (there is none, it can't be loaded, or it doesn't train this model type), `BadOption`.
    """
    settings = project.settings.models.get(model)
    name = settings.trainer if settings is not None else ""
    found = trainers()
    if settings is None or name not in found.found:
        broken = next((one.problem for one in found.broken if one.name == name), "")
        raise ConfigurationError(f"the model {model} has no usable trainer {name!r}. {broken}".strip())
    if unknown := set(settings.options) - set(found.found[name].options):
        known = ", ".join(found.found[name].options)
        raise ConfigurationError(f"models.{model}.options: {name} has no {', '.join(sorted(unknown))}; it has {known}")
    trainer = cast(Trainer, found.found[name].create({**settings.options, **options}))
    if settings.type not in trainer.model_types:
        types = ", ".join(trainer.model_types)
        raise ConfigurationError(f"the trainer {name} trains models of the type {types}; {model} is a {settings.type}")
    return trainer


def check_spec(project: Project, model: str, spec: ModelSpec) -> None:
    """Raises `ConfigurationError` if the spec's type isn't that of the model."""
    settings = project.settings.models[model]
    if spec.type != settings.type:
        raise ConfigurationError(
            f"the trainer {settings.trainer} would make a {spec.type} with these options; {model} is a {settings.type}"
        )
