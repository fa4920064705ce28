"""Pictures to look at (PS3.18 10.4.1.1.3 and 10.4.1.1.4): rendered images and thumbnails."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request, Response

from app.dialects.dicomweb.accept import accepted, kind_of_picture
from app.dialects.dicomweb.caching import tagged, unchanged
from app.dialects.dicomweb.frames import frame_numbers
from app.dialects.dicomweb.routes import INSTANCE, SERIES, STUDY, get, uids
from app.dicom.rendering import Picture, Rendering, Viewport, viewport_of, window_of
from app.errors import BadInput, BadOption
from app.services.dicomweb.folder import FolderDicomweb, Instance

THUMBNAIL = Viewport(128, 128)


def router(face: FolderDicomweb) -> APIRouter:
    api = APIRouter()

    def picture(request: Request, one: Instance, number: int, viewport: Viewport | None) -> Response:
        kind = cast(Picture, kind_of_picture(accepted(request)))
        query = request.query_params
        stamp = f"{one.stamp}-{number}-{kind}-{viewport}-{query}".encode().hex()[:400]
        if (same := unchanged(request, stamp)) is not None:
            return same
        window = window_of(query["window"]) if query.get("window") else None
        if query.get("viewport"):
            viewport = viewport_of(query["viewport"])
        how = Rendering(kind, window, viewport, _quality(query.get("quality", "90")))
        content = face.picture(one, number, how)
        headers = tagged(stamp)
        if "annotation" in query or "iccprofile" in query:
            headers["Warning"] = '299 segloop "annotation and iccprofile are not supported"'
        return Response(content, media_type=kind, headers=headers)

    def of_instance(study: str, series: str, sop: str) -> Instance:
        study, series, sop = uids(study, series, sop)
        return face.instance(study, series, sop) if sop else face.in_the_middle(study, series)

    @get(api, f"{INSTANCE}/frames/{{frame}}/rendered")
    @get(api, f"{INSTANCE}/rendered")
    @get(api, f"{SERIES}/rendered")
    @get(api, f"{STUDY}/rendered")
    def rendered(request: Request, study: str, series: str = "", sop: str = "", frame: str = "1") -> Response:
        """A frame; of an instance the first, of a series or study the one in the middle."""
        return picture(request, of_instance(study, series, sop), _single(frame), None)

    @get(api, f"{INSTANCE}/frames/{{frame}}/thumbnail")
    @get(api, f"{INSTANCE}/thumbnail")
    @get(api, f"{SERIES}/thumbnail")
    @get(api, f"{STUDY}/thumbnail")
    def thumbnail(request: Request, study: str, series: str = "", sop: str = "", frame: str = "") -> Response:
        """The same, small."""
        one = of_instance(study, series, sop)
        number = _single(frame) if frame else (face.frame_count(one) + 1) // 2
        return picture(request, one, number, THUMBNAIL)

    return api


def _single(text: str) -> int:
    numbers = frame_numbers(text)
    if len(numbers) != 1:
        raise BadInput("pictures are of one frame each")
    return numbers[0]


def _quality(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 100):
        raise BadOption(f"quality should be a number from 1 to 100, not {text[:80]!r}")
    return int(text)
