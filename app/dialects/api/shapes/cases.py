"""Cases, their geometry, what scorers said about them, and the next one to label."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.core.case import CaseRow, CaseScore
from app.core.volume import Geometry
from app.dialects.api.shapes.moments import moment
from app.dicom.source_slices import SourceSlice


class Served(BaseModel):
    """To whom a case was offered last."""

    by: str
    at: datetime


class CaseShape(BaseModel):
    """One image offered for labelling. `problem` says why it can't be opened; "" if it can."""

    id: str
    kind: Literal["series", "file"]
    patient_id: str
    study_uid: str
    series_uid: str
    modality: str
    description: str
    study_date: str
    instances: int
    completed: bool
    problem: str
    warnings: list[str]
    origin: Literal["archive", "upload"]
    served: Served | None

    @classmethod
    def of(cls, row: CaseRow) -> CaseShape:
        case = row.case
        return cls(
            id=case.id,
            kind=case.kind,
            patient_id=case.patient_id,
            study_uid=case.study_uid,
            series_uid=case.series_uid,
            modality=case.modality,
            description=case.description,
            study_date=case.study_date,
            instances=case.instances,
            completed=row.completed,
            problem=row.problem,
            warnings=list(case.warnings),
            origin=row.origin,
            served=_served(row),
        )


class CasePage(BaseModel):
    """Some of the cases that match; `total` is how many do."""

    total: int
    cases: list[CaseShape]


class SliceShape(BaseModel):
    """What is behind a slice; `sop_instance_uid` is "" for one that was interpolated. With `frames` the instance is a
    multi-frame one and holds several slices."""

    sop_instance_uid: str
    position: tuple[float, float, float]
    frames: bool = False


class GeometryShape(BaseModel):
    """Where a case's voxels lie. `shape` is [k, j, i]; `spacing` [i, j, k] in mm; `origin`, `direction` (rows of a 3x3
    matrix whose columns are the steps along i, j, k) and `affine` ([i, j, k, 1] to mm) are in LPS."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: list[float] = Field(min_length=9, max_length=9)
    affine: list[list[float]]
    slices: list[SliceShape]

    @classmethod
    def of(cls, geometry: Geometry, slices: list[SourceSlice]) -> GeometryShape:
        return cls(
            shape=geometry.shape,
            spacing=geometry.spacing,
            origin=geometry.origin,
            direction=geometry.direction.ravel().tolist(),
            affine=geometry.affine.tolist(),
            slices=[SliceShape(**vars(one)) for one in slices],
        )


class ScoreShape(BaseModel):
    """A number that a scorer gave a case. `scorer` is e.g. `entropy:segmentation`, `metric` its first part; `slice` is
    the one to look at first."""

    scorer: str
    metric: str
    value: float
    model_version: str
    at: datetime
    slice: int | None

    @classmethod
    def of(cls, score: CaseScore) -> ScoreShape:
        slices = score.detail.get("slices") or [None]
        return cls(
            scorer=score.scorer,
            metric=score.scorer.partition(":")[0],
            value=score.value,
            model_version=score.model_version,
            at=moment(score.created),
            slice=slices[0],
        )


class NextRequest(BaseModel):
    """How to pick; without a strategy the server's default."""

    strategy: str = ""
    options: dict[str, Any] = {}


class NextShape(BaseModel):
    """A case that is the caller's until `expires`, and why it was picked."""

    case: CaseShape
    reason: str
    expires: datetime


def _served(row: CaseRow) -> Served | None:
    newest = max(row.served_by.values(), key=lambda one: one["ts"], default=None)
    return None if newest is None else Served(by=newest["client_id"], at=moment(newest["ts"]))
