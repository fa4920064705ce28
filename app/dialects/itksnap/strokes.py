"""Points, scribbles and lassos; each response is the whole mask (docs/protocols/itksnap.md, sections 2.4, 2.5).

Only this module converts x, y, z of the wire to `(k, j, i)`.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.core.prompt import Lasso, Point, Prompt, Scribble
from app.core.volume import Index
from app.dialects.itksnap.buffers import read_drawing
from app.dialects.itksnap.images import Images
from app.dialects.itksnap.metadata import Voxels, read_metadata, received
from app.dialects.itksnap.routes import PlainRoute
from app.errors import BadPrompt
from app.services import Services
from app.services.prompting.session import Session


def router(services: Services, images: Images) -> APIRouter:
    api = APIRouter(route_class=PlainRoute)
    incoming = services.incoming
    most = services.settings.labels.max_upload_bytes
    strokes = Strokes(images, most)

    @api.get("/process_point_interaction/{session_id}")
    def point_xyz(session_id: str, x: int, y: int, z: int, foreground: bool = False) -> Response:
        """A click, in generation 1's format."""
        return strokes.click(session_id, (x, y, z), foreground)

    @api.get("/v2/process_point_interaction/{session_id}")
    def point(session_id: str, point: Annotated[list[int], Query()], foreground: bool = False) -> Response:
        """A click: three coordinates, or two in an image of one slice."""
        return strokes.click(session_id, point, foreground)

    @api.post("/process_scribble_interaction/{session_id}")
    async def scribble(request: Request, session_id: str, foreground: bool = False) -> Response:
        """A painted stroke."""
        images.ids.model_of(session_id)  # fail before receiving the body
        async with received(request, incoming, most) as voxels:
            return await run_in_threadpool(strokes.draw, session_id, Scribble, voxels, foreground)

    @api.post("/process_lasso_interaction/{session_id}")
    async def lasso(request: Request, session_id: str, foreground: bool = False) -> Response:
        """A closed contour, filled."""
        images.ids.model_of(session_id)
        async with received(request, incoming, most) as voxels:
            return await run_in_threadpool(strokes.draw, session_id, Lasso, voxels, foreground)

    return api


@dataclass(frozen=True)
class Strokes:
    """Adds prompts to a session and builds the response with the mask."""

    images: Images
    max_bytes: int

    def click(self, session_id: str, point: Sequence[int], foreground: bool) -> Response:
        with self.images.of(session_id) as session:
            return _answer(session, Point(decode_point(point, session.shape), foreground))

    def draw(self, session_id: str, kind: type[Scribble] | type[Lasso], sent: Voxels, foreground: bool) -> Response:
        with self.images.of(session_id) as session:
            grid = read_metadata(sent.metadata, self.max_bytes)
            if grid.shape != session.shape:
                raise BadPrompt(
                    f"the stroke lies on a grid of {_size(grid.shape)} voxels, the image has {_size(session.shape)}"
                )
            with sent.file.open("rb") as packed:
                region, voxels = read_drawing(packed, grid)
            return _answer(session, kind(region, voxels, foreground))


def _answer(session: Session, prompt: Prompt) -> Response:
    session.add([prompt])
    return segmentation(session.gzip())


def decode_point(point: Sequence[int], shape: Index) -> Index:
    """Wire coordinates x, y, z, or x, y for an image of one slice, as `(k, j, i)`.

    Raises `HTTPException` (422) for another number of them, `BadPrompt` for a point outside.
    """
    flat = len(point) == 2 and shape[0] == 1
    if len(point) != 3 and not flat:
        raise HTTPException(
            422, f"a point has {'two' if shape[0] == 1 else 'three'} coordinates here, not {len(point)}"
        )
    i, j, k = (*point, 0)[:3]
    if not all(0 <= x < n for x, n in zip((k, j, i), shape, strict=True)):
        raise BadPrompt(f"the point ({', '.join(map(str, point))}) lies outside the image of {_size(shape)} voxels")
    return k, j, i


def _size(shape: Index) -> str:
    return " x ".join(str(n) for n in reversed(shape))


def segmentation(packed: bytes) -> Response:
    """The response with a gzip stream of one byte per voxel, 0 or 1, x fastest.

    The JSON is concatenated by hand: base64 needs no escaping, and a JSON encoder would check every character.
    """
    body = b"".join((b'{"status":"success","result":"', binascii.b2a_base64(packed, newline=False), b'"}'))
    # no-transform: ITK-SNAP can't read a compressed body, so no proxy may compress it.
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store, no-transform"})
