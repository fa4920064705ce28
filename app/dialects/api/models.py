"""Versions of models, and which of them is used."""

from __future__ import annotations

from fastapi import APIRouter

from app.core.model import ModelVersion
from app.dialects.api.people import Asking
from app.dialects.api.shapes.server import ServeRequest, VersionShape
from app.errors import UnknownModel
from app.services import Services


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
