"""The types of archives that the setting `studies` can name.

A type is declared beside its class, in its folder: here in `app/archives`, or in another package that offers it under
the entry point `segloop.archives` (see `app.plugins`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from app.core.archive import Archive
from app.plugins import Registry


@dataclass(frozen=True)
class ArchiveOptions:
    """What an archive is opened with: the settings `studies`, `workspace` and `archive.*`.

    Each type takes what it needs. `secrets` reads `(password, bearer token)`, "" for none; it raises
    `ConfigurationError`. Times are in seconds.
    """

    studies: str
    workspace: Path
    filter: Mapping[str, str] = field(default_factory=dict)
    username: str = ""
    secrets: Callable[[], tuple[str, str]] = lambda: ("", "")
    ca_file: Path | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    answer_seconds: float = 20.0
    max_answer_bytes: int = 64 << 20
    fetch_seconds: float = 3600.0
    page_size: int = 200
    orthanc_url: str = ""
    labels_dir: Path | None = None
    masks: tuple[str, ...] = ()
    volume_modality: str = "auto"


@dataclass(frozen=True)
class ArchiveType:
    """One type of archive. `name` is the scheme that `studies` begins with (`http` for `http://...`); the type `folder`
    takes what begins with no scheme that is known.

    `open` raises `ConfigurationError`; an archive that doesn't answer is no error.
    """

    name: str
    open: Callable[[ArchiveOptions], Archive]


ARCHIVE_TYPES = Registry(ArchiveType, "archive type", "app.archives", "segloop.archives")
"""Every type there is."""


def open_archive(options: ArchiveOptions) -> Archive:
    """The archive that `studies` names. Raises `ConfigurationError`."""
    scheme = urlsplit(options.studies).scheme
    return ARCHIVE_TYPES.get(scheme if scheme in ARCHIVE_TYPES.names() else "folder").open(options)
