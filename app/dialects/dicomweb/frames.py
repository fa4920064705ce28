"""Frames (PS3.18 10.4.1.1.6): the pixels of an image, as stored or decoded; rendered images and thumbnails
(PS3.18 10.4.1.1.3 and 10.4.1.1.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.dialects.dicomweb import multipart
from app.dialects.dicomweb.accept import EXPLICIT, accepted, form_of_frames, kind_of_picture
from app.dialects.dicomweb.common import INSTANCE, SERIES, STUDY, get, ranged, tagged, uids, unchanged
from app.dicom.rendering import Picture, Rendering, Viewport, viewport_of, window_of
from app.errors import BadInput, BadOption
from app.services.dicomweb.folder import FolderDicomweb, Instance


def add_route(api: APIRouter, face: FolderDicomweb) -> None:
    api.routes.append(Route(f"{INSTANCE}/frames/{{frames}}", Frames(face), methods=["GET", "HEAD"]))


@dataclass(frozen=True)
class Frames:
    """Viewers request hundreds of frames, so the overhead per request matters. This is a plain ASGI application that
    runs in a thread of the event loop's own pool: FastAPI's and Starlette's work around an endpoint takes as long as
    reading the frame."""

    face: FolderDicomweb

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await asyncio.get_running_loop().run_in_executor(None, self.answer, Request(scope))
        await answer(scope, receive, send)

    def answer(self, request: Request) -> Response:
        study, series, sop, wanted = (request.path_params[name] for name in ("study", "series", "sop", "frames"))
        one = self.face.instance(*uids(study, series, sop))
        return frames_answer(request, self.face, one, frame_numbers(wanted))


def frame_numbers(text: str) -> list[int]:
    """Frame numbers from 1, separated by commas. Raises `BadInput`."""
    numbers = text.split(",")
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
        raise BadInput(f"{text[:80]!r} is no list of frames: numbers from 1, between commas")
    return [int(number) for number in numbers]


def frames_answer(request: Request, face: FolderDicomweb, one: Instance, numbers: Sequence[int]) -> Response:
    """The response for frames: one in a single body, several streamed as they are read."""
    form = form_of_frames(accepted(request), one.syntax, native=one.is_native, single=len(numbers) == 1)
    kind = f"{form.kind}; transfer-syntax={one.syntax if form.stored else EXPLICIT}"
    stamp = f"{one.stamp}-{','.join(map(str, numbers[:16]))}-{len(numbers)}{'s' if form.stored else 'd'}"
    # Several frames have no ETag: it would have to depend on the whole list of them.
    if len(numbers) <= 16 and (same := unchanged(request, stamp)) is not None:
        return same
    if len(numbers) == 1 and form.multipart:
        part = face.file_slice(one, numbers[0], stored=form.stored) or face.frame(one, numbers[0], stored=form.stored)
        return multipart.of_one_part(form.kind, kind, part, tagged(stamp))
    if not form.multipart:
        return ranged(request, face.frame(one, numbers[0], stored=form.stored), kind, stamp)
    face.check_frames(one, numbers)
    boundary = multipart.new_boundary()
    whole = multipart.content_type(form.kind, boundary)

    def parts() -> Iterator[tuple[str, int, Sequence[bytes]]]:
        for number in numbers:
            frame = face.frame(one, number, stored=form.stored)
            yield kind, len(frame), (frame,)

    headers = tagged(stamp) if len(numbers) <= 16 else {}
    return StreamingResponse(multipart.in_turn(boundary, parts()), headers={**headers, "Content-Type": whole})


THUMBNAIL = Viewport(128, 128)


def pictures(face: FolderDicomweb) -> APIRouter:
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
        return face.instance(study, series, sop) if sop else face.representative(study, series)

    @get(api, f"{INSTANCE}/frames/{{frame}}/rendered")
    @get(api, f"{INSTANCE}/rendered")
    @get(api, f"{SERIES}/rendered")
    @get(api, f"{STUDY}/rendered")
    def rendered(request: Request, study: str, series: str = "", sop: str = "", frame: str = "1") -> Response:
        """A rendered frame: of an instance the first, of a series or study the middle one."""
        return picture(request, of_instance(study, series, sop), _single(frame), None)

    @get(api, f"{INSTANCE}/frames/{{frame}}/thumbnail")
    @get(api, f"{INSTANCE}/thumbnail")
    @get(api, f"{SERIES}/thumbnail")
    @get(api, f"{STUDY}/thumbnail")
    def thumbnail(request: Request, study: str, series: str = "", sop: str = "", frame: str = "") -> Response:
        """A thumbnail of the same frame."""
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
