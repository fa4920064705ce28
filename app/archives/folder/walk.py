"""Listing the files of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from app.errors import ArchiveUnavailable


@dataclass
class Walk:
    """Files by path relative to the folder, with size and modification time (ns).

    `unreadable` are subfolders that couldn't be read: what is known about their files stays valid.
    """

    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


def walk(folder: Path, ignore: tuple[str, ...] = ()) -> Walk:
    """Size and modification time (ns) of each file. Raises `ArchiveUnavailable` if the folder isn't there.

    Hidden files and folders are skipped. Links to files are followed if the target is inside the folder; links to
    folders never (a target inside is scanned anyway).
    """
    root = os.path.realpath(folder)
    found = Walk()
    try:
        _look_into(root, "", ignore, found)
    except OSError as error:
        raise ArchiveUnavailable(f"the folder {folder} can't be read: {error.strerror}") from error
    return found


def is_inside(root: str, path: str) -> bool:
    """Whether a path, with links resolved, is inside the folder `root` (already resolved)."""
    return os.path.realpath(path).startswith(root.rstrip(os.sep) + os.sep)


def _look_into(root: str, relative: str, ignore: tuple[str, ...], found: Walk) -> None:
    for entry in _entries(os.path.join(root, relative)):
        if entry.name.startswith("."):
            continue
        path = f"{relative}/{entry.name}" if relative else entry.name
        if any(fnmatch(path, pattern) for pattern in ignore):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                _look_into(root, path, ignore, found)
                continue
            if entry.is_symlink() and not is_inside(root, entry.path):
                continue
            if entry.is_file():
                status = entry.stat()
                found.files[path] = (status.st_size, status.st_mtime_ns)
        except OSError:
            found.unreadable.append(path)


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries
