"""Uploading and downloading images: those of the datastore (`/datastore/image`), and temporary ones that an annotator
opened in the viewer (`/session/`).

Protocol: docs/protocols/monailabel.md, sections 2, 6, 7 and 8.5.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from app.core.case import CaseRow
from app.dialects.monailabel.datastore import image_note
from app.dialects.monailabel.routes import caller, route
from app.errors import BadInput, NotSupported, UnknownCase
from app.http.forms import received
from app.http.routes import JsonRoute
from app.services import Services


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["datastore"], route_class=JsonRoute)
    most = services.settings.labels.max_upload_bytes

    @route(api, "PUT", "/datastore/")
    @route(api, "PUT", "/datastore/image")
    async def upload(request: Request, image: str = "") -> dict[str, str]:
        """Add an image to label; without `image` its id is the file's name without its extension."""
        async with received(request, services.incoming, most) as form:
            sent = form.needed("file")
            who = caller(request, form.json("params").get("client_id"))
            case_id = _checked(image or sent.stem)
            row = await run_in_threadpool(services.cases.add_upload, [(sent.file, sent.name)], case_id, who)
            return {"image": row.case.id}

    @route(api, "DELETE", "/datastore/")
    @route(api, "DELETE", "/datastore/image")
    def remove(case_id: Annotated[str, Query(alias="id")]) -> dict[str, Any]:
        """Remove an image from the catalog. Images in the archive and labels stay."""
        services.cases.remove(case_id)
        return {}

    @route(api, "GET", "/datastore/image")
    def download(image: str) -> FileResponse:
        """The image as one NIfTI file; the case's checksum is that of this file."""
        file = services.cases.image_file(image)
        return FileResponse(file.path, media_type="application/octet-stream", filename=file.name)

    @route(api, "HEAD", "/datastore/image")
    def exists(image: str, check_sum: str = "") -> Response:
        """Whether the image is here; with `check_sum` (`ALGORITHM:hex`), whether its file has that."""
        services.cases.get(image)
        if check_sum and not _has_checksum(services.cases.image_file(image).path, check_sum):
            raise HTTPException(404, detail="the image here has another checksum")
        return Response()

    @route(api, "GET", "/datastore/image/info")
    def info(image: str) -> dict[str, Any]:
        """The image's info."""
        return image_note(services.cases.get(image))

    @route(api, "PUT", "/datastore/image/info")
    async def set_info(request: Request, image: str) -> None:
        """Merge the form's `info` into the image's info."""
        async with received(request, services.incoming, most) as form:
            await run_in_threadpool(services.cases.note, image, form.json("info"))

    return api


def _checked(case_id: str) -> str:
    """A safe case id: Slicer uses the id as a local file name when it downloads the image, so it must not be a path on
    another annotator's machine."""
    if not case_id or case_id.startswith(".") or len(case_id) > 200 or any(c in "/\\" or ord(c) < 32 for c in case_id):
        raise BadInput(
            f"{case_id[:200]!r} can't be an image's name: it needs 1 to 200 characters, no slashes, no dot first"
        )
    return case_id


def _has_checksum(file: Path, check_sum: str) -> bool:
    algorithm, _, expected = check_sum.partition(":")
    if algorithm.lower() not in ("sha256", "sha512", "md5"):
        raise BadInput(f"a checksum is SHA256:<hex>, SHA512:<hex> or MD5:<hex>, not {check_sum!r}")
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm.lower()).hexdigest() == expected.lower()


def session_router(services: Services) -> APIRouter:
    api = APIRouter(tags=["sessions"], route_class=JsonRoute)
    longest = services.settings.sessions.upload_seconds

    @route(api, "PUT", "/session/")
    async def create(request: Request, uncompress: bool = False, expiry: float = 0) -> dict[str, Any]:
        """Upload an image: one volume file, or the DICOM files of one series."""
        if uncompress:
            raise NotSupported("send the files themselves, each as a form file 'files'; archives are not unpacked here")
        async with received(request, services.incoming, services.settings.labels.max_upload_bytes) as form:
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
        """The session, or its image. `null` for an unknown session: Slicer then sends the image again, but doesn't
        handle a 404 (docs/protocols/monailabel.md, section 6)."""
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
        """Delete the session and its image."""
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
