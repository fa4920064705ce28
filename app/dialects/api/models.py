"""Versions of models, and which one is served."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from app.core.model import ModelCard, ModelKind, ModelVersion, Option
from app.dialects.api.common import Asking, moment
from app.errors import UnknownModel
from app.services import Services


class ModelShape(BaseModel):
    """A model. `accepts` are types of prompts; the value of an option is its default, or a list of choices with the
    default first."""

    name: str
    kind: ModelKind
    description: str
    labels: list[str]
    version: str
    licence: str
    ready: bool
    accepts: list[str]
    options: dict[str, Option | list[str]]
    trainable: bool

    @classmethod
    def of(cls, card: ModelCard, accepts: list[str], trainable: bool) -> ModelShape:
        options = {name: list(value) if isinstance(value, tuple) else value for name, value in card.options.items()}
        return cls(
            name=card.name,
            kind=card.kind,
            description=card.description,
            labels=list(card.labels),
            version=card.version,
            licence=card.licence,
            ready=card.ready,
            accepts=accepts,
            options=options,
            trainable=trainable,
        )


class VersionShape(BaseModel):
    """A version of a model. `served` marks the one in use; `reason` is the gate's."""

    id: str
    number: int
    parent: str
    state: str
    served: bool
    reason: str
    metrics: dict[str, Any]
    created: datetime
    licence: str

    @classmethod
    def of(cls, version: ModelVersion, served: str) -> VersionShape:
        return cls(
            id=version.id,
            number=version.number,
            parent=version.parent,
            state=version.state,
            served=version.id == served,
            reason=version.reason,
            metrics=dict(version.metrics),
            created=moment(version.created),
            licence=version.licence,
        )


class ServeRequest(BaseModel):
    """The id of the version to serve."""

    version: str


def add(api: APIRouter, services: Services) -> None:
    models = services.models

    def shape_of(version: ModelVersion) -> VersionShape:
        return VersionShape.of(version, models.version_served(version.model))

    @api.get("/models/{name}/versions", summary="A model's versions")
    def versions(name: str) -> list[VersionShape]:
        """Newest first."""
        models.card(name)
        return [shape_of(version) for version in models.versions(name)]

    @api.post("/models/{name}/serve", summary="Use a version, a rejected one too")
    def served(name: str, asked: ServeRequest, asking: Asking) -> VersionShape:
        models.card(name)
        if asked.version not in {version.id for version in models.versions(name)}:
            raise UnknownModel(f"{name} has no version {asked.version!r}")
        return shape_of(models.serve(asked.version, asking.who))

    @api.post("/models/{name}/rollback", summary="Go back to the published version before")
    def rolled_back(name: str, asking: Asking) -> VersionShape:
        return shape_of(models.roll_back(name, asking.who))
