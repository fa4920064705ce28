"""The labels that came last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.core.label import DeliveryState, Label
from app.web.dashboard.case_name import CaseName

SHOWN = 15


@dataclass(frozen=True)
class RecentLabel:
    """`number` counts a case's versions under `tag`; `model` is the version, or the model, that it was made with.
    `delivery` says whether the archive has it; None for one that stays here."""

    id: int
    case: CaseName
    tag: str
    number: int
    author: str
    client: str
    created: datetime
    structures: tuple[str, ...]
    model: str
    comment: str
    delivery: DeliveryState | None


def recent_label(label: Label, case: CaseName, delivery: DeliveryState | None) -> RecentLabel:
    return RecentLabel(
        id=label.id,
        case=case,
        tag=label.tag,
        number=label.number,
        author=label.author,
        client=label.client,
        created=label.created,
        structures=tuple(segment.name for segment in label.segments),
        model=_made_with(label),
        comment=label.comment,
        delivery=delivery,
    )


def _made_with(label: Label) -> str:
    """Ids of versions begin with their model's name; other models have versions of their own, such as a digest."""
    if not label.model or label.model_version.startswith(f"{label.model}-"):
        return label.model_version
    return f"{label.model} {label.model_version}".strip()
