"""Where cases come from and labels go: the one contract that DICOMweb, a folder and memory keep alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from app.core.case import Case
from app.core.progress import Progress
from app.core.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class Listing:
    """What changed in the archive.

    `cases` are new or changed; `gone` are ids that were listed once and are no longer there. `cursor` goes into the
    next call. `complete` says that `cases` is everything the archive has (so whatever else is known is gone).
    """

    cases: tuple[Case, ...]
    gone: tuple[str, ...]
    cursor: str
    complete: bool = False


@dataclass(frozen=True)
class Fetched:
    """A case's voxels, and for a series one header per source frame's instance, without pixel data, in slice order."""

    volume: Volume
    headers: Sequence[Dataset]


@dataclass(frozen=True)
class Delivery:
    """A stored label on its way to the archive. `file` is a DICOM SEG (series) or a NIfTI (volume files)."""

    case: Case
    file: Path
    tag: str
    number: int
    sha256: str
    sop_instance_uid: str


@dataclass(frozen=True)
class Receipt:
    """What was really stored, after reading it back. `location` is where the archive keeps it."""

    location: str


class Archive(Protocol):
    """Thread-safe. Every method may raise `ArchiveUnavailable`; the archive being away never loses anything here."""

    @property
    def name(self) -> str:
        """What kind of archive it is, for people."""

    def list(self, cursor: str | None) -> Listing:
        """The cases that are new or changed since `cursor` (None: everything)."""

    def fetch(self, case: Case, progress: Progress) -> Fetched:
        """Read a case's images. Raises `UnusableSeries`, `BadFile`, `UnknownCase`."""

    def store(self, delivery: Delivery) -> Receipt:
        """Store a label and read it back; returns only if the archive really has it. Storing again is harmless."""

    def check(self) -> str:
        """One line for `segloop doctor`: what answered. Raises `ArchiveUnavailable`."""

    def close(self) -> None: ...
