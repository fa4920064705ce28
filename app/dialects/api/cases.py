"""Cases, claiming the next one, and automatic segmentation."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from app.core.case import CaseRow, CaseScore, Shows
from app.core.model import Option
from app.core.volume import Geometry, SourceSlice
from app.dialects.api.common import Asking, gzipped, moment
from app.errors import NotSupported, UnknownStrategy
from app.services import Services


class Served(BaseModel):
    """Who was offered a case last, and when."""

    by: str
    at: datetime


class CaseShape(BaseModel):
    """One image offered for labelling. `problem` says why it can't be opened; "" if it can. A volume file that DICOMweb
    shows has the UIDs of the series that it is shown as."""

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
    """One page of the matching cases; `total` is the number of all matches."""

    total: int
    cases: list[CaseShape]


class SliceShape(BaseModel):
    """The DICOM instance of a slice; `sop_instance_uid` is "" for an interpolated slice. With `frames` it is a
    multi-frame instance with several slices."""

    sop_instance_uid: str
    position: tuple[float, float, float]
    frames: bool = False


class GeometryShape(BaseModel):
    """The voxel grid of a case. `shape` is [k, j, i]; `spacing` [i, j, k] in mm; `origin`, `direction` (rows of a 3x3
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
    """A score of a case. `scorer` is e.g. `entropy:segmentation`, `metric` its first part; `slice` is the slice to look
    at first."""

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
    """The strategy to use; the server's default without one. `dicomweb`: only cases that DICOMweb shows."""

    strategy: str = ""
    options: dict[str, Any] = {}
    dicomweb: bool = False


class NextShape(BaseModel):
    """A case claimed for the caller until `expires`, and why it was picked."""

    case: CaseShape
    reason: str
    expires: datetime


def _served(row: CaseRow) -> Served | None:
    newest = max(row.served_by.values(), key=lambda one: one["ts"], default=None)
    return None if newest is None else Served(by=newest["client_id"], at=moment(newest["ts"]))


class SegmentRequest(BaseModel):
    """The automatic model to run."""

    model: str
    options: dict[str, Option] = {}


class SegmentShape(BaseModel):
    """A model's result: base64 of gzip of one byte per voxel, C order [k, j, i]; `labels` maps names to values."""

    shape: tuple[int, int, int]
    labels: dict[str, int]
    voxels: str


MOST = 1000


def add(api: APIRouter, services: Services) -> None:
    cases = services.cases

    @api.get("/cases", summary="List cases")
    def listed(
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
        offset: Annotated[int, Query(ge=0)] = 0,
        completed: bool | None = None,
        q: Annotated[str, Query(max_length=200)] = "",
    ) -> CasePage:
        """In the archive's order. `q` is searched for in ids, patients, descriptions, modalities and dates."""
        total, rows = cases.page(limit, offset, completed, q.strip())
        return CasePage(total=total, cases=[CaseShape.of(row) for row in rows])

    @api.get("/cases/{case_id}", summary="One case")
    def one(case_id: str) -> CaseShape:
        """By its id, or by the SeriesInstanceUID under which DICOMweb shows a volume file."""
        return CaseShape.of(cases.shown_as(case_id))

    @api.get("/cases/{case_id}/geometry", summary="Where a case's voxels lie")
    def geometry(case_id: str) -> GeometryShape:
        """Fetches the images from the archive if they aren't cached."""
        return GeometryShape.of(cases.volume(case_id).geometry, cases.slices(case_id))

    @api.get("/cases/{case_id}/scores", summary="What scorers said about a case")
    def scores(case_id: str) -> list[ScoreShape]:
        """Newest first."""
        return [ScoreShape.of(score) for score in cases.scores(case_id)]

    @api.post("/next", summary="The next case to label", responses={204: {"description": "nothing is left"}})
    def next_case(asked: NextRequest, asking: Asking) -> NextShape:
        """Claims a case for the caller until it is labelled or released, or the claim expires. Until then, further
        calls return the same case."""
        strategy = asked.strategy or default_strategy(services)
        shows: Shows = "dicomweb" if asked.dicomweb else "everything"
        offer = services.next_case.next(strategy, asking.who, asked.options, shows)
        if offer is None:
            return Response(status_code=204)  # type: ignore[return-value] # no body to have a shape
        return NextShape(case=CaseShape.of(offer.row), reason=offer.reason, expires=moment(offer.expires))

    @api.post("/cases/{case_id}/release", summary="Give a case back without a label", status_code=204)
    def release(case_id: str, asking: Asking) -> None:
        """Releases the caller's own claim only. From now on the caller is offered other cases first."""
        services.next_case.skip(case_id, asking.who)


def default_strategy(services: Services) -> str:
    """The default strategy. Raises `UnknownStrategy` if the server has none."""
    name = next(iter(services.next_case.strategies()), None)
    if name is None:
        raise UnknownStrategy("this server has no strategy")
    return name


def add_segmentation(api: APIRouter, services: Services) -> None:
    @api.post("/cases/{case_id}/segment", summary="Segment a case without prompts")
    def segmented(case_id: str, asked: SegmentRequest, asking: Asking) -> SegmentShape:
        """Responds when the model has finished; clicks have priority. The result isn't stored."""
        mask = services.automatic.segment(asked.model, case_id, asked.options, asking.who)
        if len(mask.segments) > 255:
            raise NotSupported("answers have one byte a voxel, so at most 255 structures")
        return SegmentShape(
            shape=mask.geometry.shape,
            labels={segment.name: segment.number for segment in mask.segments},
            voxels=gzipped(mask.labelmap().astype(np.uint8, copy=False)),
        )
