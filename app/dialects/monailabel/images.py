"""Images in and out of the datastore (docs/protocols/monailabel.md, sections 2, 7, 8.5)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from app.dialects.monailabel.caller import caller
from app.dialects.monailabel.notes import image_note
from app.dialects.monailabel.routes import route
from app.errors import BadInput
from app.http.forms import received
from app.services import Services
from app.workspace import Workspace


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["datastore"])
    incoming = Workspace(services.settings.workspace.absolute()).incoming
    most = services.settings.labels.max_upload_bytes

    @route(api, "PUT", "/datastore/")
    @route(api, "PUT", "/datastore/image")
    async def upload(request: Request, image: str = "") -> dict[str, str]:
        """Add an image to label; without `image` its id is the file's name without its ending."""
        async with received(request, incoming, most) as form:
            sent = form.needed("file")
            who = caller(request, form.json("params").get("client_id"))
            case_id = _checked(image or sent.stem)
            row = await run_in_threadpool(services.cases.add_upload, [(sent.file, sent.name)], case_id, who)
            return {"image": row.case.id}

    @route(api, "DELETE", "/datastore/")
    @route(api, "DELETE", "/datastore/image")
    def remove(case_id: Annotated[str, Query(alias="id")]) -> dict[str, Any]:
        """Forget an image. What the archive has stays there, and so do labels here."""
        services.cases.remove(case_id)
        return {}

    @route(api, "GET", "/datastore/image")
    def download(image: str) -> FileResponse:
        """The image as one NIfTI file; this is also what the case's checksum is about."""
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
        """What is noted about the image."""
        return image_note(services.cases.get(image))

    @route(api, "PUT", "/datastore/image/info")
    async def set_info(request: Request, image: str) -> None:
        """Merge the form's `info` into what is noted about the image."""
        async with received(request, incoming, most) as form:
            noted = form.json("info")
            row = await run_in_threadpool(services.cases.get, image)
            await run_in_threadpool(services.cases.set_info, image, {**row.info, **noted})

    return api


def _checked(case_id: str) -> str:
    """Slicer makes a local file of the id when it downloads the image: one annotator's name for an image mustn't lead
    to another's files."""
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
