"""Uploading and downloading labels (docs/protocols/monailabel.md, sections 8.2 to 8.4, 8.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from app.core.label import FINAL, Submission
from app.dialects.monailabel.datastore import label_note
from app.dialects.monailabel.routes import caller, route
from app.errors import UnknownLabel
from app.http.forms import Upload, received
from app.http.routes import JsonRoute
from app.services import Services


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["datastore"], route_class=JsonRoute)
    most = services.settings.labels.max_upload_bytes

    @route(api, "PUT", "/datastore/label")
    async def submit(request: Request, image: str, tag: str = "") -> dict[str, Any]:
        """Store a label as the next version under its tag. It is durable when this responds."""
        async with received(request, services.incoming, most) as form:
            params = form.json("params")
            who = caller(request, params.get("client_id"))
            return await run_in_threadpool(_submit, services, image, tag or FINAL, form.needed("label"), params, who)

    @route(api, "GET", "/datastore/label")
    def download(label: str, tag: str) -> FileResponse:
        """The newest version as a labelmap. Slicer takes the extension from Content-Disposition.

        Protocol: docs/protocols/monailabel.md, section 8.2.
        """
        file = services.labels.download(services.labels.newest(label, tag))
        return FileResponse(file.path, media_type="application/octet-stream", filename=file.name)

    @route(api, "HEAD", "/datastore/label")
    def exists(image: str, tag: str) -> Response:
        """Whether there is a label under this tag."""
        services.labels.newest(image, tag)
        return Response()

    @route(api, "DELETE", "/datastore/label")
    def remove(request: Request, case_id: Annotated[str, Query(alias="id")], tag: str) -> dict[str, Any]:
        """Mark a label as deleted. Its versions stay on disk."""
        services.labels.delete(case_id, tag, caller(request, ""))
        return {}

    @route(api, "GET", "/datastore/label/info")
    def info(label: str, tag: str) -> dict[str, Any]:
        """A label's info; `{}` if there is none."""
        try:
            newest = services.labels.newest(label, tag)
        except UnknownLabel:
            return {}
        return label_note(newest, services.labels.info(newest))

    @route(api, "PUT", "/datastore/label/info")
    async def set_info(request: Request, label: str, tag: str) -> None:
        """Merge the form's `info` into a label's info."""
        async with received(request, services.incoming, most) as form:
            await run_in_threadpool(_note, services, label, tag, form.json("info"), caller(request, ""))

    @route(api, "PUT", "/datastore/updatelabelinfo")
    async def update_info(request: Request, label: str, tag: str) -> None:
        """As above, with the path and the field (`params`) that the reviewer extension uses."""
        async with received(request, services.incoming, most) as form:
            await run_in_threadpool(_note, services, label, tag, form.json("params"), caller(request, ""))

    return api


def _submit(
    services: Services, case_id: str, tag: str, sent: Upload, params: Mapping[str, Any], who: str
) -> dict[str, Any]:
    review = params.get("segmentationMeta")
    comment = params.get("comment") or (review.get("comment") if isinstance(review, dict) else "")
    submission = Submission(who, "monailabel", tag, _text(params.get("model")), comment=_text(comment), info=params)
    names = _names(params.get("label_info"), sent)
    label = services.labels.submit(case_id, sent.file, sent.name, names, submission)
    return {"image": case_id, "label": case_id, "tag": label.tag, "version": label.number}


def _names(label_info: object, sent: Upload) -> list[str] | None:
    """The structures by voxel value, which is an entry's position. Slicer's `idx` is one too high if a segment
    "background" comes first. A `.seg.nrrd` contains its segments' names.

    Protocol: docs/protocols/monailabel.md, section 8.4.
    """
    if sent.name.lower().endswith(".seg.nrrd") or not isinstance(label_info, list):
        return None
    names = [_text(entry.get("name")) for entry in label_info if isinstance(entry, dict)]
    return names if names and all(names) and len(names) == len(label_info) else None


def _note(services: Services, case_id: str, tag: str, noted: Mapping[str, Any], who: str) -> None:
    label = services.labels.newest(case_id, tag)
    services.labels.note(label, noted, who)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
