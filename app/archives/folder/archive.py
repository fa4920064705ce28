"""A folder of images as an archive, without any other service."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from app.archives.folder.client import FolderClient
from app.archives.folder.index import FolderIndex
from app.archives.folder.labels import store_label
from app.archives.folder.options import FolderOptions
from app.archives.folder.receive import RECEIVED, Receiver
from app.archives.folder.walk import is_inside
from app.archives.registry import ArchiveOptions, ArchiveType
from app.archives.series_reader import SeriesReader
from app.core.archive import Delivery, Fetched, Listing, NotOffered, Receipt, UnusedFile
from app.core.case import Case
from app.core.progress import Progress
from app.durable import flush, make_folder
from app.errors import ArchiveUnavailable, ConfigurationError, NotFound, UnknownCase
from app.formats.volume_files import read_volume

QUARANTINE = ".quarantine"
"""The subfolder of files that were set aside; hidden, so that no scan looks into it."""


class FolderArchive:
    """Cases are the DICOM image series and the NIfTI, NRRD and MetaImage files in a folder, in any layout.

    Images are only read. Labels are written beside them (see `labels`). `client` offers the folder as a DICOMweb
    service. Thread-safe.
    """

    def __init__(self, options: FolderOptions) -> None:
        self.name = str(options.folder)
        self._options = options
        self.index = FolderIndex(options)
        self.client = FolderClient(options, self.index, Receiver(options, self.index))

    def list(self, cursor: str | None) -> Listing:
        """Scan the folder. Returns the cases that changed since `cursor`. Raises `ArchiveUnavailable`."""
        self.index.scan()
        return self.index.listing(cursor)

    def fetch(self, case: Case, progress: Progress) -> Fetched:
        """Read a case. Raises `UnknownCase`, `UnusableSeries`, `BadFile`, `ArchiveUnavailable`."""
        if self.index.case(case.id) is None:
            # The case may be newer than the last scan.
            self.index.scan()
        known = self.index.case(case.id)
        if known is None:
            self._check_folder()
            raise UnknownCase(f"there is no case {case.id[:80]!r} in the folder")
        try:
            return self._read_series(known, progress) if known.kind == "series" else self._read_file(known, progress)
        except (NotFound, FileNotFoundError) as error:
            self._check_folder()
            raise UnknownCase(f"the images of case {case.id[:80]!r} are no longer in the folder") from error
        except OSError as error:
            raise ArchiveUnavailable(f"the images of a case can't be read from the folder: {error.strerror}") from error

    def store(self, delivery: Delivery) -> Receipt:
        """Write a label beside the images. Raises what `store_label` raises."""
        # If the disk isn't mounted, the label must not be written to the mount point.
        self._check_folder()
        place = store_label(self._options, delivery)
        if place.is_relative_to(self._options.folder):
            self.index.scan()  # so that searches find the label
        return Receipt(str(place))

    def unused(self) -> Sequence[UnusedFile]:
        """See `Quarantining.unused`."""
        return [UnusedFile(path, reason) for path, reason in self.index.broken()]

    def set_aside(self, path: str) -> None:
        """See `Quarantining.set_aside`. The file goes to `.quarantine` in the folder, under its own path."""
        left_out = any(path == one.path for one in self.unused())
        if not left_out and not (path.startswith(f"{RECEIVED}/") and self.index.knows(path)):
            raise NotFound(f"{path[:200]!r} is neither a file that is left out nor one that was stored here")
        place = self._options.folder / QUARANTINE / path
        try:
            make_folder(place.parent)
            while place.exists():
                place = place.with_name(f"{place.name}~")
            (self._options.folder / path).rename(place)
            flush(place.parent)
        except FileNotFoundError:
            pass  # it was removed by hand, which the scan will notice
        except OSError as error:
            raise ArchiveUnavailable(f"the file can't be moved: {error.strerror}") from error
        self.index.scan()

    def check(self) -> str:
        """A line with the number of files of each kind. Raises `ArchiveUnavailable`."""
        self.index.scan()
        counts = self.index.counts()
        broken = f", {counts['broken']} files that can't be used" if counts.get("broken") else ""
        masks = sum(one.kind == "mask" for one in self.index.not_offered())
        return (
            f"{self._options.folder}: {counts.get('instance', 0)} DICOM files, {counts.get('volume', 0)} volume"
            f" files{f' ({masks} of them masks)' if masks else ''}{broken}"
        )

    def not_offered(self) -> Sequence[NotOffered]:
        """See `Selective.not_offered`."""
        return self.index.not_offered()

    def dicomweb(self) -> FolderClient:
        """The folder's files."""
        return self.client

    def close(self) -> None:
        self.index.close()

    def _read_series(self, case: Case, progress: Progress) -> Fetched:
        paths = self.client.instance_paths("", case.series_uid)
        reader = SeriesReader(fill_gaps=self._options.fill_gaps, max_bytes=self._options.max_bytes)
        for count, path in enumerate(paths, start=1):
            reader.add(path.read_bytes())
            progress(count / len(paths), f"image {count} of {len(paths)}")
        return reader.build()

    def _read_file(self, case: Case, progress: Progress) -> Fetched:
        path = self._options.folder / case.location
        if not is_inside(os.path.realpath(self._options.folder), str(path)):
            raise UnknownCase(f"the file of case {case.id[:80]!r} is not in the folder")
        progress(0.0, "reading")
        volume = read_volume(path, self._options.max_bytes)
        progress(1.0, "read")
        return Fetched(volume, ())

    def _check_folder(self) -> None:
        if not self._options.folder.is_dir():
            raise ArchiveUnavailable(f"the folder {self._options.folder} isn't there")


def _open(options: ArchiveOptions) -> FolderArchive:
    folder = Path(options.studies)
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder; name one with --studies, or a DICOMweb address")
    index = options.workspace / "folder-index.sqlite"
    return FolderArchive(
        FolderOptions(
            folder=folder,
            labels_dir=options.labels_dir,
            index=index,
            masks=options.masks,
            volume_modality=options.volume_modality,
        )
    )


FOLDER = ArchiveType("folder", _open)
