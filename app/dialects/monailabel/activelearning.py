"""POST `/activelearning/{strategy}` (docs/protocols/monailabel.md, section 7): the next case to label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from app.core.case import Case
from app.dialects.monailabel.routes import caller, route
from app.http.routes import JsonRoute
from app.services import Services
from app.services.cases import ImageFile
from app.services.next_case import Offer


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["active learning"], route_class=JsonRoute)

    @route(api, "POST", "/activelearning/{strategy}")
    def next_sample(
        request: Request, strategy: str, options: Annotated[dict[str, Any] | None, Body()] = None
    ) -> dict[str, Any]:
        """The next case to label, claimed for the caller; `{}` when everything is labelled."""
        given = options or {}
        who = caller(request, given.get("client_id"))
        # MONAI Label's OHIF goes to the study of the case; 3D Slicer downloads the image, whatever it is.
        in_browser = request.headers.get("user-agent", "").startswith("Mozilla/")
        offer = services.next_case.next(strategy, who, _flattened(given), "series" if in_browser else "everything")
        if offer is None:
            return {}
        image = services.cases.image_file(offer.row.case.id)
        return _sample(offer, image, str(request.base_url))

    return api


def _flattened(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options; a choice may be sent back as the list from `/info/` (docs/protocols/monailabel.md, section 3.2)."""
    return {key: value[0] if isinstance(value, list) and value else value for key, value in options.items()}


def _sample(offer: Offer, image: ImageFile, base_url: str) -> dict[str, Any]:
    """The response without `path`: Slicer would load such a file if it exists on the client's machine. The checksum
    keeps Slicer from showing a cached image of the same name from another server (MONAILabel#1484)."""
    return {
        "id": offer.row.case.id,
        "name": image.name,
        "ts": int(offer.row.first_seen),
        "checksum": f"SHA256:{image.sha256}",
        "strategy": offer.row.served_by,
        "reason": offer.reason,
        "expires": int(offer.expires),
        **(_study(offer.row.case, base_url) if offer.row.case.kind == "series" else {}),
    }


def _study(case: Case, base_url: str) -> dict[str, str]:
    """The DICOM attributes of a series; OHIF shows them and navigates to it. Empty values are left out: Slicer names
    its volume after PatientID, else after `name`."""
    address = f"{base_url}proxy/dicom/wado/studies/{case.study_uid}/series/{case.series_uid}"
    fields = {
        "PatientID": case.patient_id,
        "StudyDate": case.study_date,
        "StudyTime": case.study_time,
        "Modality": case.modality,
        "StudyInstanceUID": case.study_uid,
        "SeriesInstanceUID": case.series_uid,
        "RetrieveURL": address,
    }
    return {key: value for key, value in fields.items() if value}
