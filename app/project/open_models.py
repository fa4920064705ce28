"""The models of the settings, each with the weights that the catalog says it serves."""

from __future__ import annotations

from app.core.model import AnyModel, ModelVersion
from app.errors import BadFile, ConfigurationError, UnknownModel
from app.models.device import Device
from app.models.registry import MODEL_TYPES, ModelOptions, ModelType
from app.project.project import Project
from app.settings import ModelSettings


def open_models(project: Project, device: Device) -> dict[str, AnyModel]:
    """Every model of the settings, in their order. Weights are loaded when first used.

    Raises `ConfigurationError` for a model that isn't there, saying how to get it.
    """
    return {name: open_model(project, name, device) for name in project.settings.models}


def open_model(project: Project, name: str, device: Device, version: ModelVersion | None = None) -> AnyModel:
    """One of them, with the weights it serves or those of `version`. Raises `UnknownModel` for a name that the settings
    don't have, `ConfigurationError` as above."""
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
    """The type of one of them. Raises as `open_model`."""
    return MODEL_TYPES.get(_settings(project, name).type)


def _settings(project: Project, name: str) -> ModelSettings:
    settings = project.settings.models.get(name)
    if settings is None:
        raise UnknownModel(f"no model {name!r}; there are: {', '.join(project.settings.models)}")
    return settings
