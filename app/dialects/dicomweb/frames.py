"""Frames (PS3.18 10.4.1.1.6): the pixels of an image, as stored or decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.dialects.dicomweb import multipart
from app.dialects.dicomweb.accept import EXPLICIT, accepted, form_of_frames
from app.dialects.dicomweb.caching import ranged, tagged, unchanged
from app.dialects.dicomweb.routes import INSTANCE, uids
from app.errors import BadInput
from app.services.dicomweb.folder import FolderDicomweb, Instance


def add_route(api: APIRouter, face: FolderDicomweb) -> None:
    api.routes.append(Route(f"{INSTANCE}/frames/{{frames}}", Frames(face), methods=["GET", "HEAD"]))


@dataclass(frozen=True)
class Frames:
    """Frames are asked for by the hundred, so little may stand between the request and the file: a plain ASGI
    application that works in a thread of the event loop's own pool, because what FastAPI and Starlette do before and
    around an endpoint of theirs takes as long as reading the frame."""

    face: FolderDicomweb

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await asyncio.get_running_loop().run_in_executor(None, self.answer, Request(scope))
        await answer(scope, receive, send)

    def answer(self, request: Request) -> Response:
        study, series, sop, wanted = (request.path_params[name] for name in ("study", "series", "sop", "frames"))
        one = self.face.instance(*uids(study, series, sop))
        return frames_answer(request, self.face, one, frame_numbers(wanted))


def frame_numbers(text: str) -> list[int]:
    """Numbers from 1, between commas. Raises `BadInput`."""
    numbers = text.split(",")
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
        raise BadInput(f"{text[:80]!r} is no list of frames: numbers from 1, between commas")
    return [int(number) for number in numbers]


def frames_answer(request: Request, face: FolderDicomweb, one: Instance, numbers: Sequence[int]) -> Response:
    """One frame as a whole, several one after the other as they are read."""
    form = form_of_frames(accepted(request), one.syntax, native=one.is_native, single=len(numbers) == 1)
    kind = f"{form.kind}; transfer-syntax={one.syntax if form.stored else EXPLICIT}"
    stamp = f"{one.stamp}-{','.join(map(str, numbers[:16]))}-{len(numbers)}{'s' if form.stored else 'd'}"
    # Many frames have no tag of their own: a list of them would have to be in it as a whole.
    if len(numbers) <= 16 and (same := unchanged(request, stamp)) is not None:
        return same
    if len(numbers) == 1 and form.multipart:
        part = face.stretch(one, numbers[0], stored=form.stored) or face.frame(one, numbers[0], stored=form.stored)
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
