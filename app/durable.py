"""Durable, atomic file writes. All code of this project uses these functions."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO


def write_durably(final: Path, write: Callable[[BinaryIO], object], *, parents: bool = True, mode: int = 0o600) -> str:
    """Write a file atomically and durably: when this returns, it survives a power failure. Returns its SHA-256.

    `write(file)` fills a temporary file beside `final`, which is then flushed to disk and renamed; the folder is
    flushed too. On any error the temporary file is removed and an existing `final` is unchanged. The digest is that of
    the bytes read back. Without `parents`, raises `FileNotFoundError` if the folder doesn't exist. `mode` is subject to
    the umask.
    """
    if parents:
        make_folder(final.parent)
    temporary = final.with_name(f".writing-{uuid.uuid4().hex[:12]}{''.join(final.suffixes[-2:])}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        digest = file_sha256(temporary)
        temporary.replace(final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush(final.parent)
    return digest


def make_folder(folder: Path) -> None:
    """Create a folder and its parents durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    flush(folder.parent)


def flush(path: Path) -> None:
    """Flush a file's bytes, or a folder's entries (for a durable rename), to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(file: Path) -> str:
    """The hex digest of a file's bytes."""
    digest = sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
