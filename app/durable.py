"""Files that survive a power cut: whole, or not there. The one writer that everything in this project uses."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO


def write_durably(final: Path, write: Callable[[BinaryIO], object], *, parents: bool = True, mode: int = 0o600) -> str:
    """Make a file appear whole or not at all, and survive a power cut once this returns; gives its SHA-256.

    `write(file)` fills a temporary file beside `final`, which is then flushed to disk and renamed, and the folder
    flushed too. If anything fails, nothing is left, and what was there before stays. The digest is that of the bytes as
    they were read back. Without `parents` the folder must be there (`FileNotFoundError`). `mode` is less the umask.
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
    """Make a folder with all above it, so that they survive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    flush(folder.parent)


def flush(path: Path) -> None:
    """Flush a file's bytes, or a folder's entries (so that a rename in it survives a power cut), to disk."""
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
