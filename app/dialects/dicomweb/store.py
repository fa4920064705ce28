"""STOW-RS (PS3.18 10.5) into the folder, and into this server's labels."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.dialects.dicomweb.address import ROOT, service_root
from app.dialects.dicomweb.caller import client, person
from app.dialects.dicomweb.outcomes import answer
from app.dialects.dicomweb.routes import uids
from app.dialects.dicomweb.spool import holds_dicom, parts_of, spooled
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
        """Keep DICOM files. A segmentation of a case becomes its next label; when this answers 200, it is safe."""
        uids(study)
        kind = request.headers.get("content-type", "")
        if not holds_dicom(kind):
            raise HTTPException(415, detail='send multipart/related; type="application/dicom"')
        async with spooled(request, services.project.paths.incoming, most) as body:
            return await run_in_threadpool(_store, request, body, kind, study)

    def _store(request: Request, body: Path, kind: str, study: str) -> Response:
        parts = parts_of(body, kind, most)
        into = into_folder(face.client, study)
        arrived: list[Outcome] = []

        def rest(part: bytes, reference: Reference) -> Outcome:
            arrived.append(into(part, reference))
            return arrived[-1]

        outcomes = incoming.take(parts, study, person(request), client(request), rest)
        if arrived:
            # So that what came in is found, and a new series is a case, at once.
            services.sync.run()
        return answer(outcomes, service_root(request), study)

    return api
