"""The two-part form of images and strokes: `file`, gzipped voxels, and `metadata`, JSON.

Protocol: docs/protocols/itksnap.md, section 2.3.

The file comes first, so nothing is known about it until it is here. It stays packed, on disk, until the metadata say
how many bytes it may hold.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import HTTPException, Request

from app.http import forms


@dataclass(frozen=True)
class Voxels:
    """What was sent: a gzip `file` of ours, gone when the form's block ends, and JSON text about it."""

    file: Path
    metadata: str


@asynccontextmanager
async def received(request: Request, folder: Path, max_bytes: int) -> AsyncIterator[Voxels]:
    """Take a request's form in, its file below `folder` until the block ends.

    Raises what `forms.received` raises, and `HTTPException` (422) if a part is missing or was cut off.
    """
    async with forms.received(request, folder, max_bytes) as form:
        upload, metadata = form.upload("file"), form.fields.get("metadata")
        if upload is None or metadata is None:
            missing = "file" if upload is None else "metadata"
            raise HTTPException(422, f"the form has no part {missing!r}, or breaks off in it")
        yield Voxels(upload.file, metadata)
