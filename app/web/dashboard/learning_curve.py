"""Whether models get better: Dice of each version on the patients that are kept for validation for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.core.model import ModelVersion


@dataclass(frozen=True)
class Point:
    """`dice` is None where nothing was measured: no validation patient had a label yet, or the weights were
    imported."""

    version: str
    number: int
    created: datetime
    dice: float | None
    cases: int
    published: bool
    served: bool
    reason: str


@dataclass(frozen=True)
class Curve:
    """The versions of one model, oldest first."""

    model: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class LearningCurves:
    curves: tuple[Curve, ...]

    @property
    def measured(self) -> bool:
        """Whether there is a point to draw."""
        return any(point.dice is not None for curve in self.curves for point in curve.points)

    @property
    def chart(self) -> dict[str, object]:
        """What the page draws, over version numbers: what was published as a line, what was rejected as crosses."""
        last = max((point.number for curve in self.curves for point in curve.points), default=0)
        return {"versions": list(range(1, last + 1)), "models": [_series(curve, last) for curve in self.curves]}


def learning_curves(versions: Sequence[ModelVersion], served: Mapping[str, str]) -> LearningCurves:
    """From every model version. `served` has the id of the version in use by the model's name."""
    by_model: dict[str, list[Point]] = {}
    for one in sorted(versions, key=lambda version: (version.model, version.number)):
        by_model.setdefault(one.model, []).append(_point(one, served.get(one.model) == one.id))
    return LearningCurves(tuple(Curve(model, tuple(points)) for model, points in by_model.items()))


def _point(version: ModelVersion, served: bool) -> Point:
    dice = version.metrics.get("best_metric")
    return Point(
        version=version.id,
        number=version.number,
        created=datetime.fromtimestamp(version.created, UTC),
        dice=float(dice) if dice is not None else None,
        cases=int(version.metrics.get("validation_cases", 0)),
        published=version.state == "published",
        served=served,
        reason=version.reason,
    )


def _series(curve: Curve, last: int) -> dict[str, object]:
    published: list[float | None] = [None] * last
    rejected: list[float | None] = [None] * last
    for point in curve.points:
        (published if point.published else rejected)[point.number - 1] = point.dice
    return {"name": curve.model, "published": published, "rejected": rejected}
