"""Opening the models of the settings with their served weights."""

from __future__ import annotations

from app.core.model import AnyModel, ModelVersion
from app.errors import BadFile, ConfigurationError, UnknownModel
from app.models.device import Device
from app.models.registry import MODEL_TYPES, ModelOptions, ModelType
from app.project.project import Project
from app.settings import ModelSettings


def open_models(project: Project, device: Device) -> dict[str, AnyModel]:
    """Every model of the settings, in that order. Weights are loaded on first use.

    Raises `ConfigurationError` for a model that isn't installed; the message says how to get it.
    """
    return {name: open_model(project, name, device) for name in project.settings.models}


def open_model(project: Project, name: str, device: Device, version: ModelVersion | None = None) -> AnyModel:
    """One model, with the weights of `version`, by default the served one. Raises `UnknownModel` for a name that isn't
    in the settings, and `ConfigurationError` as `open_models`."""
    settings = _settings(project, name)
    served = version or project.catalog.versions.served(name)
    options = ModelOptions(
        source=settings.source,
        version=project.paths.models / served.folder if served is not None else None,
        labels=tuple(project.settings.labels.structures),
        patches=settings.patches,
    )
    try:
        return MODEL_TYPES.get(settings.type).build(name, options, device)
    except (UnknownModel, BadFile) as error:
        raise ConfigurationError(f"model {name}: {error}") from error


def model_type(project: Project, name: str) -> ModelType:
    """The type of one model. Raises as `open_model`."""
    return MODEL_TYPES.get(_settings(project, name).type)


def _settings(project: Project, name: str) -> ModelSettings:
    settings = project.settings.models.get(name)
    if settings is None:
        raise UnknownModel(f"no model {name!r}; there are: {', '.join(project.settings.models)}")
    return settings
