"""Answers of several parts (PS3.18 8.6.1.2, RFC 2387)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fastapi import Response
from starlette.types import Receive, Scope, Send


def new_boundary() -> str:
    return f"part-{secrets.token_hex(16)}"


def content_type(kind: str, boundary: str) -> str:
    return f'multipart/related; type="{kind}"; boundary={boundary}'


def part_head(boundary: str, kind: str, length: int, first: bool) -> bytes:
    """What stands before a part of `length` bytes."""
    start = "" if first else "\r\n"
    return f"{start}--{boundary}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()


def end(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()


class PiecesResponse(Response):
    """An answer whose body is in pieces, which are sent one after the other: joining the half megabyte of a frame with
    the few bytes around it takes longer than reading it."""

    def __init__(self, pieces: Sequence[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(headers={**headers, "Content-Length": str(sum(map(len, pieces)))})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def of_one_part(kind: str, part_kind: str, part: bytes, headers: Mapping[str, str]) -> Response:
    """A multipart answer of type `kind` with a single part."""
    boundary = new_boundary()
    pieces = (part_head(boundary, part_kind, len(part), first=True), part, end(boundary))
    return PiecesResponse(pieces, {**headers, "Content-Type": content_type(kind, boundary)})


def in_turn(boundary: str, parts: Iterable[tuple[str, int, Iterable[bytes]]]) -> Iterator[bytes]:
    """The same for parts, `(type, length, content)`, that are made one after the other."""
    for number, (kind, length, chunks) in enumerate(parts):
        yield part_head(boundary, kind, length, number == 0)
        yield from chunks
    yield end(boundary)
