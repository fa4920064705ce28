"""Request bodies within a size limit: in memory for dialects whose bodies are one array each, or in a file."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from app.errors import BadFile

MOST_JSON_BYTES = 8 * 2**20
MOST_VALUES = 1_000_000
"""Values in JSON: a million take a third of a second to parse."""

WRITE_BYTES = 2**20
"""Bytes collected before a write to disk, so that a large upload doesn't switch threads for every chunk."""


async def limited(
    request: Request, chunks: AsyncIterator[bytes], limit: int, too_large: Callable[[], Exception]
) -> AsyncGenerator[bytes, None]:
    """The chunks of a body. Raises the error from `too_large` once there are more than `limit` bytes, or before reading
    if Content-Length says so."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > limit):
        raise too_large()
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise too_large()
        yield chunk


class JsonRequest(Request):
    """A request with a JSON body of at most `most_bytes` and `MOST_VALUES`: parsing holds the interpreter's lock. Its
    stream raises `HTTPException` 413 for a larger one."""

    most_bytes = MOST_JSON_BYTES

    async def stream(self) -> AsyncGenerator[bytes, None]:
        commas = 0
        async for chunk in limited(self, super().stream(), self.most_bytes, self._too_large):
            commas += chunk.count(b",")
            if commas > MOST_VALUES:
                raise self._too_large()
            yield chunk

    def _too_large(self) -> HTTPException:
        # FastAPI passes on only this type of error from where it reads a body.
        return HTTPException(413, detail=f"more than {self.most_bytes >> 20} MiB, or {MOST_VALUES} values, of JSON")


async def whole_body(request: Request, limit: int) -> bytearray:
    """The whole body in one buffer, without a copy.

    The buffer grows with the received data: Content-Length doesn't reserve memory. Content-Encoding is ignored. Raises
    `BadFile` for more than `limit` bytes.
    """
    body = bytearray()
    async for chunk in limited(request, request.stream(), limit, lambda: BadFile(over(limit))):
        body += chunk
    return body


@asynccontextmanager
async def spooled_body(request: Request, folder: Path, limit: int) -> AsyncIterator[Path]:
    """The body in a file below `folder`, deleted when the block ends: receiving a study of a gigabyte takes no memory.
    Raises `HTTPException` 413 for more than `limit` bytes."""

    def too_large() -> HTTPException:
        return HTTPException(413, detail=f"{over(limit)} in one request")

    with tempfile.TemporaryDirectory(dir=folder, prefix="body-", ignore_cleanup_errors=True) as own:
        file = Path(own) / "body"
        file.touch()
        waiting: list[bytes] = []
        held = 0
        async for chunk in limited(request, request.stream(), limit, too_large):
            waiting.append(chunk)
            held += len(chunk)
            if held >= WRITE_BYTES:
                await run_in_threadpool(_append, file, waiting)
                waiting, held = [], 0
        await run_in_threadpool(_append, file, waiting)
        yield file


def over(limit: int) -> str:
    """The message for a body of more than `limit` bytes."""
    return f"more than {limit >> 20} MB; the setting labels.max_upload_bytes allows that much"


def _append(file: Path, chunks: list[bytes]) -> None:
    with file.open("ab") as stream:
        stream.writelines(chunks)
