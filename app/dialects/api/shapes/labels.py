"""Label versions, and voxels in and out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.core.label import FINAL, DeliveryState, Label

Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")]
"""What kind of label it is: `final` counts as completed and is trained on."""


class LabelShape(BaseModel):
    """One version of a case's label. `delivered` is whether the archive confirmed it; null if it doesn't go there."""

    id: int
    case_id: str
    tag: str
    number: int
    author: str
    client: str
    model: str
    model_version: str
    comment: str
    created: datetime
    structures: list[str]
    sop_instance_uid: str
    delivered: bool | None
    sha256: str

    @classmethod
    def of(cls, label: Label, state: DeliveryState | None) -> LabelShape:
        return cls(
            id=label.id,
            case_id=label.case_id,
            tag=label.tag,
            number=label.number,
            author=label.author,
            client=label.client,
            model=label.model,
            model_version=label.model_version,
            comment=label.comment,
            created=label.created,
            structures=[segment.name for segment in label.segments],
            sop_instance_uid=label.sop_instance_uid,
            delivered=None if state is None else state == "delivered",
            sha256=label.sha256,
        )


class LabelMeta(BaseModel):
    """What is said along with voxels. `structures` are in the order of their numbers, as a list or with commas between
    them; without any, the project's own."""

    structures: list[str] | str = ""
    comment: str = ""
    tag: Tag = FINAL
    model: str = ""

    def names(self) -> list[str]:
        given = self.structures.split(",") if isinstance(self.structures, str) else self.structures
        return [name.strip() for name in given] if self.structures else []


class VoxelsShape(BaseModel):
    """A label map: base64 of gzip of one byte a voxel, C order [k, j, i]; the value is the position in `structures`,
    from 1. Where structures overlap, the later one is seen."""

    shape: tuple[int, int, int]
    structures: list[str]
    voxels: str
