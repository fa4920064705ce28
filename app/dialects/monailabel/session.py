"""`/session/`: an image that an annotator opened in the viewer, here for a while.

Protocol: docs/protocols/monailabel.md, section 6.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from app.core.case import CaseRow
from app.dialects.forms import received
from app.dialects.monailabel.caller import caller
from app.dialects.monailabel.routes import route
from app.errors import BadInput, NotSupported, UnknownCase
from app.services import Services
from app.workspace import Workspace


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["sessions"])
    incoming = Workspace(services.settings.workspace.absolute()).incoming
    longest = services.settings.sessions.upload_seconds

    @route(api, "PUT", "/session/")
    async def create(request: Request, uncompress: bool = False, expiry: float = 0) -> dict[str, Any]:
        """Take an image in: one volume file, or the DICOM files of one series."""
        if uncompress:
            raise NotSupported("send the files themselves, each as a form file 'files'; archives are not unpacked here")
        async with received(request, incoming, services.settings.labels.max_upload_bytes) as form:
            files = [(sent.file, sent.name) for sent in form.uploads.get("files", [])]
            if not files:
                raise BadInput("the form has no file 'files'")
            who = caller(request, form.fields.get("client_id"))
            session_id = secrets.token_hex(16)
            seconds = min(expiry, longest) if expiry > 0 else longest
            row = await run_in_threadpool(services.cases.add_upload, files, session_id, who, seconds)
            return {"session_id": session_id, "session_info": _session(row)}

    @route(api, "GET", "/session/{session_id}")
    def get(session_id: str, update_ts: bool = False, image: bool = False) -> Response | dict[str, Any] | None:
        """The session, or its image. An unknown one is answered with `null`: then Slicer sends the image again, while
        it can't cope with a 404 (docs/protocols/monailabel.md, section 6)."""
        row = _found(services, session_id)
        if row is None:
            return None
        if update_ts:
            services.cases.touch(row, longest, slack=0)
            row = services.cases.get(session_id)
        if image:
            file = services.cases.image_file(session_id)
            return FileResponse(file.path, media_type="application/octet-stream", filename=file.name)
        return _session(row)

    @route(api, "DELETE", "/session/{session_id}")
    def remove(session_id: str) -> dict[str, Any]:
        """Forget the session and its image."""
        row = _found(services, session_id)
        if row is None:
            raise HTTPException(404, detail="no such session, or it is over")
        services.cases.remove(session_id)
        return _session(row)

    return api


def _found(services: Services, session_id: str) -> CaseRow | None:
    try:
        row = services.cases.get(session_id)
    except UnknownCase:
        return None
    return row if row.expires is not None and row.expires > time.time() else None


def _session(row: CaseRow) -> dict[str, Any]:
    """As clients know it, without paths of this server (they only read the id)."""
    left = max(0.0, (row.expires or 0.0) - time.time())
    return {
        "name": row.case.id,
        "path": "",
        "image": row.case.id,
        "meta": {},
        "create_ts": int(row.first_seen),
        "last_access_ts": int(time.time()),
        "expiry": round(left),
    }
