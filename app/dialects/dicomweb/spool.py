"""A request's body on disk, so that a study of a gigabyte takes no memory while it comes in."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from app.archives.dicomweb.multipart import BrokenMultipart, boundary_of, read_parts
from app.dialects.dicomweb.accept import DICOM
from app.errors import BadInput

_WRITE_BYTES = 1 << 20


@asynccontextmanager
async def spooled(request: Request, folder: Path, max_bytes: int) -> AsyncIterator[Path]:
    """The body in a file below `folder`, which is there until the block ends. Raises 413 above `max_bytes`, before
    anything is read if the request says its length."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    with tempfile.TemporaryDirectory(dir=folder, prefix="stow-", ignore_cleanup_errors=True) as own:
        file = Path(own) / "body"
        file.touch()
        waiting: list[bytes] = []
        held = size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(max_bytes)
            waiting.append(chunk)
            held += len(chunk)
            if held >= _WRITE_BYTES:
                await run_in_threadpool(_append, file, waiting)
                waiting, held = [], 0
        await run_in_threadpool(_append, file, waiting)
        yield file


def holds_dicom(content_type: str) -> bool:
    """Whether a body of this type holds DICOM files: in parts, or one as it is."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/related":
        return DICOM in content_type.replace("application/dicom+", "").lower() and boundary_of(content_type) is not None
    return kind == DICOM


def parts_of(file: Path, content_type: str, max_part: int) -> Iterator[bytes]:
    """The DICOM files in a body, one at a time. Raises `BadInput` where the body can't be taken apart."""
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


def _append(file: Path, chunks: list[bytes]) -> None:
    with file.open("ab") as stream:
        stream.writelines(chunks)


def _too_large(max_bytes: int) -> HTTPException:
    detail = f"more than {max_bytes >> 20} MB; the setting labels.max_upload_bytes allows that much in one request"
    return HTTPException(413, detail=detail)
