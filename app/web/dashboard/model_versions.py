"""Which weights each model uses, and which it could."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.core.model import ModelCard, ModelVersion


@dataclass(frozen=True)
class VersionRow:
    """`dice` is the mean over `by_structure`, 0..1, on `validation_cases` cases; None where nothing was measured."""

    id: str
    number: int
    created: datetime
    published: bool
    served: bool
    dice: float | None
    by_structure: tuple[tuple[str, float], ...]
    training_cases: int | None
    validation_cases: int | None
    parent: str
    reason: str
    licence: str


@dataclass(frozen=True)
class ModelVersions:
    """One model. `back_to` is the version that rolling back would serve, "" if there is none."""

    name: str
    description: str
    served: str
    back_to: str
    versions: tuple[VersionRow, ...]


def model_versions(
    cards: Sequence[ModelCard], trained: Sequence[str], versions: Sequence[ModelVersion], served: Mapping[str, str]
) -> tuple[ModelVersions, ...]:
    """Of every model that has versions or that a trainer makes (`trained`). `versions` are newest first; `served` has
    the id of the version in use by the model's name."""
    found = []
    for card in cards:
        own = [one for one in versions if one.model == card.name]
        if own or card.name in trained:
            found.append(_of_model(card, own, served.get(card.name, "")))
    return tuple(found)


def _of_model(card: ModelCard, own: Sequence[ModelVersion], served: str) -> ModelVersions:
    current = next((one for one in own if one.id == served), None)
    earlier = (one for one in own if current and one.state == "published" and one.number < current.number)
    back_to = max(earlier, key=lambda one: one.number, default=None)
    rows = tuple(_row(one, one.id == served) for one in sorted(own, key=lambda one: -one.number))
    return ModelVersions(card.name, card.description, served, back_to.id if back_to else "", rows)


def _row(version: ModelVersion, served: bool) -> VersionRow:
    metrics = version.metrics
    dice = metrics.get("best_metric")
    return VersionRow(
        id=version.id,
        number=version.number,
        created=datetime.fromtimestamp(version.created, UTC),
        published=version.state == "published",
        served=served,
        dice=float(dice) if dice is not None else None,
        by_structure=tuple((name, float(value)) for name, value in metrics.get("dice", {}).items()),
        training_cases=metrics.get("training_cases"),
        validation_cases=metrics.get("validation_cases"),
        parent=version.parent,
        reason=version.reason,
        licence=version.licence,
    )
