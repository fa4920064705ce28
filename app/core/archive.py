"""The archive contract, implemented for DICOMweb services, folders and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from app.core.case import Case
from app.core.progress import Progress
from app.core.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class Listing:
    """What changed in the archive.

    `cases` are new or changed; `gone` are ids that were listed before and have been removed. Pass `cursor` to the next
    call. With `complete`, `cases` is everything the archive has, and any other known case has been removed.
    """

    cases: tuple[Case, ...]
    gone: tuple[str, ...]
    cursor: str
    complete: bool = False


@dataclass(frozen=True)
class Fetched:
    """A case's voxels, and for a series the headers of its instances in slice order, without pixel data."""

    volume: Volume
    headers: Sequence[Dataset]


@dataclass(frozen=True)
class Delivery:
    """A stored label on its way to the archive. `file` is a DICOM SEG (series) or a labelmap in the image's format
    (volume files); `seg` is the SEG of a volume file that is shown as a series. `sop_instance_uid` is that of the SEG,
    `sha256` that of `file`."""

    case: Case
    file: Path
    tag: str
    number: int
    sha256: str
    sop_instance_uid: str
    seg: Path | None = None


@dataclass(frozen=True)
class Receipt:
    """Confirms a stored label that was read back. `location` is where the archive keeps it."""

    location: str


@dataclass(frozen=True)
class DicomwebUpstream:
    """A DICOMweb service that viewers' requests are passed on to.

    `url` is the root under which `/studies` lies. This server logs in with `user` and `password` (HTTP Basic) or with
    `token` (Bearer). `verify`: check its certificate, or against the authorities in this file. Times are in
    seconds; `total_seconds` is the limit of a whole exchange.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    verify: bool | str = True
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    total_seconds: float = 3600.0


@dataclass(frozen=True)
class StoredFile:
    """A DICOM Part 10 file: where it is, and what it was when the archive last looked. `header` is DICOM JSON without
    bulk data, `syntax` the transfer syntax ("" if the file doesn't say it)."""

    path: Path
    study: str
    series: str
    sop: str
    syntax: str
    header: str


@dataclass(frozen=True)
class VolumeFile:
    """A volume file that is shown as a DICOM series, one instance for each slice. `slope` and `intercept` are those of
    the file's header."""

    case: Case
    slope: float = 1.0
    intercept: float = 0.0


@dataclass(frozen=True)
class NotOffered:
    """A volume file that is a `mask` and no case, or a case that viewers of DICOM aren't shown (`unshown`), and why.
    `path` is relative to the archive."""

    path: str
    reason: str
    kind: Literal["mask", "unshown"]


class DicomFiles(Protocol):
    """DICOM files on this machine, which this server serves over DICOMweb, and volume files that it shows as series.
    Thread-safe.

    Searches are those of dicomweb-client's `DICOMwebClient`: results are DICOM JSON, a filter that isn't known raises
    `BadOption`.
    """

    def search_for_studies(
        self,
        fuzzymatching: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
        fields: Sequence[str] | None = None,
        search_filters: Mapping[str, object] | None = None,
    ) -> list[dict[str, Any]]:
        """The studies that meet the filters."""

    def search_for_series(
        self,
        study_instance_uid: str | None = None,
        fuzzymatching: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
        fields: Sequence[str] | None = None,
        search_filters: Mapping[str, object] | None = None,
    ) -> list[dict[str, Any]]:
        """The series that meet the filters, of one study or of all."""

    def search_for_instances(
        self,
        study_instance_uid: str | None = None,
        series_instance_uid: str | None = None,
        fuzzymatching: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
        fields: Sequence[str] | None = None,
        search_filters: Mapping[str, object] | None = None,
    ) -> list[dict[str, Any]]:
        """The instances that meet the filters, of one study or series or of all."""

    def files(self, study: str, series: str = "", sop: str = "") -> list[StoredFile]:
        """The files of a study, of a series, or of one instance, in the order of their UIDs. Raises `NotFound`."""

    def volumes(self, study: str, series: str = "") -> list[VolumeFile]:
        """The volume files that are the series of a study, or one series."""

    def store_file(self, file: bytes, study_instance_uid: str | None = None, *, in_use: bool = False) -> None:
        """Keep a Part 10 file as it is. `in_use`: its series has labels, so no images are added to it.

        Raises `BadFile` (damaged), `BadInput` (not of the study), `GeometryMismatch` (doesn't fit its series),
        `Conflict` (another object has its UID), `OSError`."""


class Archive(Protocol):
    """Where cases come from and labels go. Thread-safe.

    Every method may raise `ArchiveUnavailable`, which is temporary: the caller retries later.
    """

    @property
    def name(self) -> str:
        """How logs and messages name it, such as its URL or folder."""

    def list(self, cursor: str | None) -> Listing:
        """The cases that are new or changed since `cursor` (None: everything)."""

    def fetch(self, case: Case, progress: Progress) -> Fetched:
        """Read a case's images. Raises `UnusableSeries`, `BadFile`, `UnknownCase`."""

    def store(self, delivery: Delivery) -> Receipt:
        """Store a label and read it back to verify it. Idempotent.

        Raises `ArchiveRefuses`, `BadFile`, `Conflict` (another object is stored in its place), `IntegrityError`,
        `NotSupported`.
        """

    def check(self) -> str:
        """Connect to the archive and describe it in one line, for `segloop doctor`."""

    def dicomweb(self) -> DicomwebUpstream | DicomFiles | None:
        """What viewers may read its studies from over DICOMweb; None if there is no such thing."""

    def close(self) -> None:
        """Release connections and files. The archive can't be used afterwards."""


@dataclass(frozen=True)
class UnusedFile:
    """A file of an archive that is left out of its cases, and why. `path` is relative to the archive."""

    path: str
    reason: str


@runtime_checkable
class Quarantining(Protocol):
    """An archive that leaves damaged files out, and from which a file can be set aside."""

    def unused(self) -> Sequence[UnusedFile]:
        """The files that are left out, as of the last listing, in the order of their paths."""

    def set_aside(self, path: str) -> None:
        """Move a file out of the archive's sight, without deleting it: one that is left out, or one that was stored
        through this server. Raises `NotFound` for any other, `ArchiveUnavailable` if it can't be moved."""


@runtime_checkable
class Selective(Protocol):
    """An archive that doesn't offer every image that it finds."""

    def not_offered(self) -> Sequence[NotOffered]:
        """What it doesn't offer, as of the last listing, in the order of the paths."""


@runtime_checkable
class Interruptible(Protocol):
    """An archive whose calls may wait long for another machine, and can be ended before the server stops."""

    def hang_up(self) -> None:
        """End all calls in other threads: they raise `ArchiveUnavailable`, and so does every later call."""
