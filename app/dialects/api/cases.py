"""What there is to label, and whose turn it is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.dialects.api.people import Asking
from app.dialects.api.shapes.cases import CasePage, CaseShape, GeometryShape, NextRequest, NextShape, ScoreShape
from app.dialects.api.shapes.moments import moment
from app.errors import UnknownStrategy
from app.services import Services

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
        """In the archive's order. `q` is looked for in ids, patients, descriptions, modalities and dates."""
        total, rows = cases.page(limit, offset, completed, q.strip())
        return CasePage(total=total, cases=[CaseShape.of(row) for row in rows])

    @api.get("/cases/{case_id}", summary="One case")
    def one(case_id: str) -> CaseShape:
        return CaseShape.of(cases.get(case_id))

    @api.get("/cases/{case_id}/geometry", summary="Where a case's voxels lie")
    def geometry(case_id: str) -> GeometryShape:
        """Reads the images if they are not here yet."""
        return GeometryShape.of(cases.volume(case_id).geometry, cases.slices(case_id))

    @api.get("/cases/{case_id}/scores", summary="What scorers said about a case")
    def scores(case_id: str) -> list[ScoreShape]:
        """Newest first."""
        return [ScoreShape.of(score) for score in cases.scores(case_id)]

    @api.post("/next", summary="The next case to label", responses={204: {"description": "nothing is left"}})
    def next_case(asked: NextRequest, asking: Asking) -> NextShape:
        """The case is the caller's until it is labelled, released, or the lease is over; asking again gives the same
        one."""
        offer = services.next_case.next(asked.strategy or default_strategy(services), asking.who, asked.options)
        if offer is None:
            return Response(status_code=204)  # type: ignore[return-value] # no body to have a shape
        return NextShape(case=CaseShape.of(offer.row), reason=offer.reason, expires=moment(offer.expires))

    @api.post("/cases/{case_id}/release", summary="Give a case back without a label", status_code=204)
    def release(case_id: str, asking: Asking) -> None:
        """Only the caller's own lease ends. The caller is offered other cases first from now on."""
        services.next_case.skip(case_id, asking.who)


def default_strategy(services: Services) -> str:
    """The strategy of somebody who names none. Raises `UnknownStrategy` if there is none at all."""
    name = next(iter(services.next_case.strategies()), None)
    if name is None:
        raise UnknownStrategy("this server has no strategy")
    return name
