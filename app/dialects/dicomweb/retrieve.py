"""WADO-RS (PS3.18 10.4): headers, whole instances and bulk data of studies, series and instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from app.dialects.dicomweb import multipart
from app.dialects.dicomweb.accept import (
    DICOM,
    EXPLICIT,
    JSON,
    OCTETS,
    Form,
    accepted,
    check_json,
    form_of_instances,
    not_acceptable,
)
from app.dialects.dicomweb.common import INSTANCE, SERIES, STUDY, get, ranged, service_root, tagged, uids, unchanged
from app.dialects.dicomweb.frames import frames_answer
from app.services.dicomweb.folder import FolderDicomweb, Instance

_CHUNK = 1 << 22


def router(face: FolderDicomweb) -> APIRouter:
    api = APIRouter()

    @get(api, f"{STUDY}/metadata")
    @get(api, f"{SERIES}/metadata")
    @get(api, f"{INSTANCE}/metadata")
    def metadata(request: Request, study: str, series: str = "", sop: str = "") -> Response:
        """Headers of the instances, as DICOM JSON."""
        check_json(accepted(request))
        found = face.metadata(face.instances(*uids(study, series, sop)))
        return unchanged(request, found.stamp) or Response(
            found.at(service_root(request)), media_type=JSON, headers=tagged(found.stamp)
        )

    @get(api, INSTANCE)
    @get(api, SERIES)
    @get(api, STUDY)
    def instances(request: Request, study: str, series: str = "", sop: str = "") -> Response:
        """Whole instances, as DICOM files."""
        found = face.instances(*uids(study, series, sop))
        forms = form_of_instances(accepted(request), [one.syntax for one in found], single=bool(sop))
        if forms[0].multipart:
            return _in_parts(request, face, found, forms)
        return _alone(request, face, found[0], forms[0])

    @get(api, f"{INSTANCE}/bulkdata/{{path:path}}")
    def bulk(request: Request, study: str, series: str, sop: str, path: str) -> Response:
        """One bulk data value of the metadata."""
        one = face.instance(*uids(study, series, sop))
        if face.pixels_are(one, path):
            return frames_answer(request, face, one, range(1, face.frame_count(one) + 1))
        stamp = f"{one.stamp}-{path}"
        if (same := unchanged(request, stamp)) is not None:
            return same
        value = face.bulk(one, path)
        for wanted in accepted(request):
            if wanted.takes(OCTETS):
                if not wanted.multipart and wanted.kind == OCTETS:
                    return ranged(request, value, OCTETS, stamp)
                return multipart.of_one_part(OCTETS, OCTETS, value, tagged(stamp))
        raise not_acceptable("bulk data comes as application/octet-stream")

    return api


def _alone(request: Request, face: FolderDicomweb, one: Instance, form: Form) -> Response:
    stamp = f"{one.stamp}-{'stored' if form.stored else 'explicit'}"
    if (same := unchanged(request, stamp)) is not None:
        return same
    kind = _kind(one, form)
    if form.stored and one.path is not None:
        return FileResponse(one.path, media_type=kind, headers=tagged(stamp))
    return ranged(request, face.part10(one, stored=form.stored), kind, stamp)


def _in_parts(request: Request, face: FolderDicomweb, found: Sequence[Instance], forms: Sequence[Form]) -> Response:
    boundary = multipart.new_boundary()
    headers = {"Content-Type": multipart.content_type(DICOM, boundary)}
    sizes = [one.size if form.stored else None for one, form in zip(found, forms, strict=True)]
    known = [size for size in sizes if size is not None]
    if len(known) == len(sizes):
        heads = (
            len(multipart.part_head(boundary, _kind(one, form), size, number == 0)) + size
            for number, (one, form, size) in enumerate(zip(found, forms, known, strict=True))
        )
        headers["Content-Length"] = str(sum(heads) + len(multipart.end(boundary)))
    if request.method == "HEAD":
        return Response(headers=headers)
    parts = (_part(face, one, form) for one, form in zip(found, forms, strict=True))
    return StreamingResponse(multipart.in_turn(boundary, parts), headers=headers)


def _part(face: FolderDicomweb, one: Instance, form: Form) -> tuple[str, int, Iterator[bytes]]:
    if form.stored and one.path is not None and one.size is not None:
        return _kind(one, form), one.size, _chunks(one.path)
    content = face.part10(one, stored=form.stored)
    return _kind(one, form), len(content), iter((content,))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _kind(one: Instance, form: Form) -> str:
    return f"{DICOM}; transfer-syntax={one.syntax if form.stored else EXPLICIT}"
