"""Opening the models of the settings with their served weights."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from app.core.model import AnyModel, ModelVersion
from app.errors import BadFile, ConfigurationError, UnknownModel
from app.models.device import Device
from app.models.registry import MODEL_TYPES, ModelOptions, ModelType
from app.project.project import Project
from app.settings import ModelSettings

logger = logging.getLogger(__name__)


def open_models(project: Project, device: Device) -> dict[str, AnyModel]:
    """Every model of the settings, in that order. Weights are loaded on first use.

    Raises `ConfigurationError` for a model that isn't installed; the message says how to get it.
    """
    return {name: open_model(project, name, device) for name in project.settings.models}


def open_model(project: Project, name: str, device: Device, version: ModelVersion | None = None) -> AnyModel:
    """One model, with the weights of `version`, by default the served one. Raises `UnknownModel` for a name that isn't
    in the settings, and `ConfigurationError` as `open_models`."""
    try:
        return build_model(project, name, device, version or served_version(project, name))
    except (UnknownModel, BadFile) as error:
        raise ConfigurationError(f"model {name}: {error}") from error


def build_model(project: Project, name: str, device: Device, version: ModelVersion | Path | None) -> AnyModel:
    """One model with the weights of a version, or of a version's folder; as without versions if there is none. Raises
    what `ModelType.build` raises."""
    folder = project.paths.models / version.folder if isinstance(version, ModelVersion) else version
    options = replace(model_options(project, name), version=folder)
    return model_type(project, name).build(name, options, device)


def model_options(project: Project, name: str) -> ModelOptions:
    """What a model is built from, apart from a version. Raises `UnknownModel`."""
    settings = _settings(project, name)
    return ModelOptions(
        source=settings.source,
        store=project.paths.models / name,
        labels=tuple(project.settings.labels.structures),
        patches=settings.patches,
    )


def served_version(project: Project, name: str) -> ModelVersion | None:
    """The version of a model that is to be served. None if there is none, or if the catalog's was made from another
    base than the setting `source` names: who changes that setting wants those weights. Raises `BadFile`."""
    served = project.catalog.versions.served(name)
    base = model_type(project, name).base
    if served is None or base is None:
        return served
    if base.began_with(project.paths.models / served.folder, model_options(project, name)):
        return served
    logger.warning("%s was made from other weights than the setting source of %s names; not served", served.id, name)
    return None


def model_type(project: Project, name: str) -> ModelType:
    """The type of one model. Raises as `open_model`."""
    return MODEL_TYPES.get(_settings(project, name).type)


def _settings(project: Project, name: str) -> ModelSettings:
    settings = project.settings.models.get(name)
    if settings is None:
        raise UnknownModel(f"no model {name!r}; there are: {', '.join(project.settings.models)}")
    return settings
