"""STOW-RS (PS3.18 10.5) into the folder and into this server's labels, and the response with the result of each object
(PS3.18 10.5.3, annex I)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from app.dialects.dicomweb.accept import JSON
from app.dialects.dicomweb.common import ROOT, ascii_text, client, person, service_root, uids
from app.dialects.dicomweb.multipart import holds_dicom, parts_of
from app.http.bodies import spooled_body
from app.services import Services
from app.services.dicomweb.folder import FolderDicomweb
from app.services.dicomweb.incoming import Incoming, Outcome, Reference, into_folder


def router(services: Services, face: FolderDicomweb) -> APIRouter:
    api = APIRouter()
    incoming = Incoming(services.cases, services.labels)
    most = services.settings.labels.max_upload_bytes

    @api.post(f"/{ROOT}/studies/{{study}}", response_model=None)
    @api.post(f"/{ROOT}/studies", response_model=None)
    async def store(request: Request, study: str = "") -> Response:
        """Store DICOM files. A segmentation of a case becomes its next label version, durable when this responds."""
        uids(study)
        kind = request.headers.get("content-type", "")
        if not holds_dicom(kind):
            raise HTTPException(415, detail='send multipart/related; type="application/dicom"')
        async with spooled_body(request, services.incoming, most) as body:
            return await run_in_threadpool(_store, request, body, kind, study)

    def _store(request: Request, body: Path, kind: str, study: str) -> Response:
        parts = parts_of(body, kind, most)
        into = into_folder(face.client, study, services.labels)
        arrived: list[Outcome] = []

        def rest(part: bytes, reference: Reference) -> Outcome:
            arrived.append(into(part, reference))
            return arrived[-1]

        outcomes = incoming.take(parts, study, person(request), client(request), rest)
        if arrived:
            # So that searches find the new objects at once, and a new series becomes a case.
            services.sync.run()
        return answer(outcomes, service_root(request), study)

    return api


FAILED, STORED, RETRIEVE_URL = "00081198", "00081199", "00081190"
_CLASS, _UID, _REASON, _WARNING = "00081150", "00081155", "00081197", "00081196"


def answer(outcomes: Sequence[Outcome], root: str, study: str, others: Mapping[str, Any] | None = None) -> Response:
    """200 if every object is stored, 409 if none is, 202 otherwise. `others` is the archive's response for forwarded
    objects."""
    failed = [*_items(others, FAILED), *(_item(one, root) for one in outcomes if one.reason)]
    stored = [*_items(others, STORED), *(_item(one, root) for one in outcomes if not one.reason)]
    content: dict[str, Any] = {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        FAILED: _sequence(failed),
        STORED: _sequence(stored),
    }
    if study:
        content[RETRIEVE_URL] = {"vr": "UR", "Value": [f"{root}/studies/{study}"]}
    problems = dict.fromkeys(one.problem for one in outcomes if one.problem)
    headers = {"Warning": f'299 segloop "{ascii_text("; ".join(problems)[:2000])}"'} if problems else None
    status = 409 if failed and not stored else 202 if failed else 200
    if not failed and not stored:
        status = 400
    return JSONResponse(dict(sorted(content.items())), status, headers, JSON)


def _item(one: Outcome, root: str) -> dict[str, Any]:
    item: dict[str, Any] = {}
    for tag, value in ((_CLASS, one.reference.sop_class), (_UID, one.reference.sop)):
        item[tag] = {"vr": "UI", "Value": [value]} if value else {"vr": "UI"}
    if one.location:
        item[RETRIEVE_URL] = {"vr": "UR", "Value": [f"{root}/{one.location}"]}
    if one.warning:
        item[_WARNING] = {"vr": "US", "Value": [one.warning]}
    if one.reason:
        item[_REASON] = {"vr": "US", "Value": [one.reason]}
    return item


def _items(others: Mapping[str, Any] | None, tag: str) -> list[Any]:
    element = (others or {}).get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _sequence(items: list[Any]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
