"""Multipart bodies, written and parsed (PS3.18 8.6.1.2, RFC 2387)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from fastapi import Response
from fastapi.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from app.dialects.dicomweb.accept import DICOM
from app.errors import BadInput
from app.formats.multipart_related import BrokenMultipart, boundary_of, read_parts
from app.services.dicomweb.files import FileSlice

ZERO_COPY = "http.response.zerocopysend"


def new_boundary() -> str:
    return f"part-{secrets.token_hex(16)}"


def content_type(kind: str, boundary: str) -> str:
    return f'multipart/related; type="{kind}"; boundary={boundary}'


def part_head(boundary: str, kind: str, length: int, first: bool) -> bytes:
    """The boundary and headers of a part of `length` bytes."""
    start = "" if first else "\r\n"
    return f"{start}--{boundary}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()


def end(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()


class PiecesResponse(Response):
    """A response whose body is a list of pieces, sent one after the other: copying the half megabyte of a frame next to
    its headers takes longer than reading it. Parts of files are sent by the server directly if it supports ASGI's
    extension "zero copy send". Their files are closed at the end."""

    def __init__(self, pieces: Sequence[bytes | FileSlice], headers: Mapping[str, str]) -> None:
        length = sum(piece.length if isinstance(piece, FileSlice) else len(piece) for piece in pieces)
        super().__init__(headers={**headers, "Content-Length": str(length)})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        copies = ZERO_COPY in scope.get("extensions", ())
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for piece in self._pieces:
                if not isinstance(piece, FileSlice):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                elif copies:
                    place = {"file": piece.file, "offset": piece.start, "count": piece.length}
                    await send({"type": ZERO_COPY, **place, "more_body": True})
                else:
                    content = await run_in_threadpool(piece.read)
                    await send({"type": "http.response.body", "body": content, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            for piece in self._pieces:
                if isinstance(piece, FileSlice):
                    piece.file.close()


def of_one_part(kind: str, part_kind: str, part: bytes | FileSlice, headers: Mapping[str, str]) -> Response:
    """A multipart response of type `kind` with a single part."""
    boundary = new_boundary()
    length = part.length if isinstance(part, FileSlice) else len(part)
    pieces = (part_head(boundary, part_kind, length, first=True), part, end(boundary))
    return PiecesResponse(pieces, {**headers, "Content-Type": content_type(kind, boundary)})


def in_turn(boundary: str, parts: Iterable[tuple[str, int, Iterable[bytes]]]) -> Iterator[bytes]:
    """The chunks of a multipart body whose parts, `(type, length, content)`, are produced one after the other."""
    for number, (kind, length, chunks) in enumerate(parts):
        yield part_head(boundary, kind, length, number == 0)
        yield from chunks
    yield end(boundary)


def holds_dicom(content_type: str) -> bool:
    """Whether a body of this type contains DICOM files: multipart, or a single file."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/related":
        return DICOM in content_type.replace("application/dicom+", "").lower() and boundary_of(content_type) is not None
    return kind == DICOM


def parts_of(file: Path, content_type: str, max_part: int) -> Iterator[bytes]:
    """The DICOM files in a body, one at a time. Raises `BadInput` at the first malformed part."""
    boundary = boundary_of(content_type)
    if boundary is None:
        yield file.read_bytes()
        return
    try:
        with file.open("rb") as stream:
            for part in read_parts(stream.read, boundary, max_part):
                yield part.body
    except BrokenMultipart as error:
        raise BadInput(f"the multipart body can't be taken apart: {error}") from error
