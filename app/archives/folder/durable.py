"""Putting a file in its place so that it is there after a power cut, whole, or not at all."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

from app.errors import Conflict, IntegrityError
from app.workspace import file_sha256, sync_folder


def put(data: bytes, place: Path) -> None:
    """Write beside the place, sync, move, sync the folder, read back. The same bytes there already are fine.

    Raises `OSError`; `Conflict` if another file is there; `IntegrityError` if what is read back differs.
    """
    digest = hashlib.sha256(data).hexdigest()
    if place.exists():
        if file_sha256(place) != digest:
            raise Conflict(f"another file is stored as {place.name} in {place.parent}; it was left as it is")
        return
    _make_folder(place.parent)
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(place.parent)
    if file_sha256(place) != digest:
        raise IntegrityError(f"{place} doesn't hold what was just written to it; check the disk")


def _make_folder(folder: Path) -> None:
    """Make a folder with all above it, and sync where each was entered."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
