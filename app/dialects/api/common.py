"""What every route uses: who asks and through what, errors whose `detail` is always text, bodies within a limit, times,
how answers that are no JSON are described, and arrays in JSON."""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from math import prod
from typing import Annotated, Any
from urllib.parse import unquote

import numpy as np
from fastapi import Depends, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from numpy.typing import NDArray

from app.core.volume import Index
from app.errors import BadFile, BadPrompt
from app.http.bodies import limited
from app.http.errors import dotted, problems
from app.http.identity import LONGEST_NAME, identity, user_of
from app.http.routes import GuardedRoute
from app.services.prompting.log import Viewer


def viewer(
    request: Request,
    user: Annotated[str, Header(alias="X-Segloop-User", description="who is asking: percent-encoded UTF-8")] = "",
    client: Annotated[str, Header(alias="X-Segloop-Client", description="which program is asking")] = "browser",
) -> Viewer:
    """The person that the header names, else the one of the gate or the path, else whoever sits at that machine."""
    name = _on_one_line(unquote(user)) or _on_one_line(user_of(request))
    return Viewer(_on_one_line(client) or "browser", identity(request, name, "browser"))


Asking = Annotated[Viewer, Depends(viewer)]


class Route(GuardedRoute):
    """Everything but what FastAPI refuses goes to the application's own error table."""

    def received(self, request: Request) -> Request:
        # What comes as a file has its own limit, and is not read into memory here.
        return _Limited(request.scope, request.receive) if self.body_field is not None else request

    def refusal(self, request: Request, error: Exception) -> Response | None:
        if not isinstance(error, RequestValidationError):
            return None
        found = problems(error, lambda location: dotted(location[1:]))
        # The first few are enough to go on with.
        return JSONResponse({"detail": "; ".join(problem.removeprefix(": ") for problem in found[:5])}, 422)


class _Limited(Request):
    """A request whose body ends with an error once it is too long."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        async for chunk in limited(self, super().stream(), MOST_BYTES, _too_large):
            yield chunk


def _on_one_line(name: str) -> str:
    return "".join(letter for letter in name if letter.isprintable()).strip()[:LONGEST_NAME]


def binary(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """A file."""
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in media_types}}}


def text(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}


class EventStream(Response):
    media_type = "text/event-stream"


MOST_BYTES = 256 * 2**20
"""Of a JSON body. The mask of the largest volume that fits in memory takes about as much as base64 of bits."""


def _too_large() -> HTTPException:
    # The one kind of error that FastAPI passes on from where it reads a body.
    return HTTPException(413, detail=f"more than {MOST_BYTES >> 20} MiB of JSON")


def moment(seconds: float) -> datetime:
    """A time from the catalog, in seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


def unpack_bits(text: str, shape: Index) -> NDArray[np.bool_]:
    """Base64 of `np.packbits` of a bool array `shape`, C order. Raises `BadPrompt`, before anything is decoded if the
    text is not as long as it has to be."""
    count = prod(shape)
    size = -(-count // 8)
    if len(text) != 4 * -(-size // 3):
        raise BadPrompt(f"{shape} voxels are {size} bytes of bits, so {4 * -(-size // 3)} letters; {len(text)} came")
    try:
        packed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPrompt("voxels should be base64") from error
    if len(packed) != size:
        raise BadPrompt(f"{shape} voxels are {size} bytes of bits; {len(packed)} came")
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(bool).reshape(shape)


def gzipped(voxels: NDArray[np.uint8]) -> str:
    """Base64 of gzip of an array's bytes, C order."""
    return base64.b64encode(gzip.compress(np.ascontiguousarray(voxels).data, 1, mtime=0)).decode()


def inflate(packed: bytes | bytearray, shape: Index) -> NDArray[np.uint8]:
    """A gzip stream of exactly one byte a voxel of `shape`. Never makes more bytes than that. Raises `BadFile`."""
    count = prod(shape)
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        data = reader.decompress(packed, count + 1)
    except zlib.error as error:
        raise BadFile("the body should be gzip of one byte a voxel") from error
    if len(data) != count or not reader.eof or reader.unused_data:
        raise BadFile(f"the voxels should be exactly {count} bytes, one for each of {shape} (slice, row, column)")
    return np.frombuffer(data, np.uint8).reshape(shape)
