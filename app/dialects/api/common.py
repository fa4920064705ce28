"""Common parts of all routes: the caller's user and client, errors with a text as `detail`, size-limited bodies, times,
OpenAPI descriptions of other media types, and arrays in JSON."""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from datetime import UTC, datetime
from math import prod
from typing import Annotated, Any
from urllib.parse import unquote

import numpy as np
from fastapi import Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from numpy.typing import NDArray

from app.core.volume import Index
from app.errors import BadFile, BadPrompt
from app.http.bodies import JsonRequest
from app.http.errors import dotted, problems
from app.http.identity import LONGEST_NAME, identity, user_of
from app.http.routes import GuardedRoute
from app.services.prompting.log import Viewer


def viewer(
    request: Request,
    user: Annotated[str, Header(alias="X-Segloop-User", description="who is asking: percent-encoded UTF-8")] = "",
    client: Annotated[str, Header(alias="X-Segloop-Client", description="which program is asking")] = "browser",
) -> Viewer:
    """The caller: the user from the header, else from the gate or the path, else the program and its host."""
    name = _on_one_line(unquote(user)) or _on_one_line(user_of(request))
    return Viewer(_on_one_line(client) or "browser", identity(request, name, "browser"))


Asking = Annotated[Viewer, Depends(viewer)]


class Route(GuardedRoute):
    """Handles FastAPI's own errors; all others go to the application's handlers."""

    def received(self, request: Request) -> Request:
        # File uploads have their own limit and aren't read into memory.
        return _Limited(request.scope, request.receive) if self.body_field is not None else request

    def refusal(self, request: Request, error: Exception) -> Response | None:
        if not isinstance(error, RequestValidationError):
            return None
        found = problems(error, lambda location: dotted(location[1:]))
        # The first few are enough to go on with.
        return JSONResponse({"detail": "; ".join(problem.removeprefix(": ") for problem in found[:5])}, 422)


class _Limited(JsonRequest):
    most_bytes = 256 * 2**20
    """About the size of a mask, as base64 of bits, of the largest volume that fits in memory."""


def _on_one_line(name: str) -> str:
    return "".join(letter for letter in name if letter.isprintable()).strip()[:LONGEST_NAME]


def binary(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """A file."""
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in media_types}}}


def text(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}


class EventStream(Response):
    media_type = "text/event-stream"


def moment(seconds: float) -> datetime:
    """A datetime in UTC from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


def unpack_bits(text: str, shape: Index) -> NDArray[np.bool_]:
    """Decode base64 of `np.packbits` of a bool array of `shape`, C order. Raises `BadPrompt`; a wrong length is
    rejected before decoding."""
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
    """Encode an array's bytes, C order, as base64 of gzip."""
    return base64.b64encode(gzip.compress(np.ascontiguousarray(voxels).data, 1, mtime=0)).decode()


def inflate(packed: bytes | bytearray, shape: Index) -> NDArray[np.uint8]:
    """Decompress a gzip stream of exactly one byte per voxel of `shape`, and never more. Raises `BadFile`."""
    count = prod(shape)
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        data = reader.decompress(packed, count + 1)
    except zlib.error as error:
        raise BadFile("the body should be gzip of one byte a voxel") from error
    if len(data) != count or not reader.eof or reader.unused_data:
        raise BadFile(f"the voxels should be exactly {count} bytes, one for each of {shape} (slice, row, column)")
    return np.frombuffer(data, np.uint8).reshape(shape)
