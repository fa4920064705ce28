"""Writing files into the folder archive."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from app.durable import file_sha256, write_durably
from app.errors import Conflict, IntegrityError


def put(data: bytes, place: Path) -> None:
    """Write a file durably, readable by others. Idempotent.

    Raises `OSError`; `Conflict` if a different file is there; `IntegrityError` if the bytes read back differ.
    """
    digest = sha256(data).hexdigest()
    if place.exists():
        if file_sha256(place) != digest:
            raise Conflict(f"another file is stored as {place.name} in {place.parent}; it was left as it is")
    elif write_durably(place, lambda file: file.write(data), mode=0o666) != digest:
        raise IntegrityError(f"{place} doesn't hold what was just written to it; check the disk")
