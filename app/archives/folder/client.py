"""A folder as a DICOMweb service: the methods and types of dicomweb-client, without a network."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.archives.folder.examine import read_instance_header
from app.archives.folder.fields import INSTANCE_FIELDS, SERIES_FIELDS, STUDY_FIELDS
from app.archives.folder.index import FolderIndex
from app.archives.folder.options import FolderOptions
from app.archives.folder.receive import Receiver
from app.archives.folder.results import Query, available_syntax, number, page, single_uid, study_entry
from app.archives.folder.volumes import slice_entries
from app.archives.folder.walk import is_inside
from app.core.archive import StoredFile, VolumeFile
from app.dicom.parsing import PARSER_ERRORS, parse
from app.errors import BadFile, BadInput, Conflict, GeometryMismatch, NotFound

if TYPE_CHECKING:
    from pydicom import Dataset

CANT_BE_STORED = 0xC000
DOES_NOT_MATCH = 0xA900
ANOTHER_IS_STORED = 0x0111
"""FailureReason: cannot understand, data set does not match (PS3.18 table I.2-2), duplicate SOP instance (PS3.4 table
H.4-1)."""


@dataclass(frozen=True)
class FolderClient:
    """Search, retrieve and store in a folder, as of its index' last scan. Keeps `DicomFiles`; thread-safe.

    Results are DICOM JSON, in the order of their UIDs. An unknown filter raises `BadOption`, and UIDs that the folder
    doesn't have raise `NotFound`.
    """

    options: FolderOptions
    index: FolderIndex
    receiver: Receiver

    def search_for_studies(
        self,
        fuzzymatching: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
        fields: Sequence[str] | None = None,
        search_filters: Mapping[str, object] | None = None,
    ) -> list[dict[str, Any]]:
        """The studies that meet the filters."""
        rows = self.index.series(single_uid(search_filters, "StudyInstanceUID"))
        studies = itertools.groupby(rows, key=lambda found: found[0].study)
        entries = (study_entry(list(series)) for _, series in studies)
        return page(entries, STUDY_FIELDS, Query(fuzzymatching, limit, offset, fields, search_filters))

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
        study = study_instance_uid or single_uid(search_filters, "StudyInstanceUID")
        rows = self.index.series(study, single_uid(search_filters, "SeriesInstanceUID"))
        entries = ({**json.loads(row.header), **number("NumberOfSeriesRelatedInstances", n)} for row, n in rows)
        wanted = (*STUDY_FIELDS, *SERIES_FIELDS)
        return page(entries, wanted, Query(fuzzymatching, limit, offset, fields, search_filters))

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
        rows = self.index.instances(
            study_instance_uid or single_uid(search_filters, "StudyInstanceUID"),
            series_instance_uid or single_uid(search_filters, "SeriesInstanceUID"),
            single_uid(search_filters, "SOPInstanceUID"),
        )
        volumes = self.index.volumes(
            study_instance_uid or single_uid(search_filters, "StudyInstanceUID"),
            series_instance_uid or single_uid(search_filters, "SeriesInstanceUID"),
        )
        entries = itertools.chain(
            ({**json.loads(row.header), **available_syntax(row.syntax)} for row in rows),
            *(slice_entries(one.header, one.case.instances) for one in volumes),
        )
        wanted = (*STUDY_FIELDS, *SERIES_FIELDS, *INSTANCE_FIELDS)
        return page(entries, wanted, Query(fuzzymatching, limit, offset, fields, search_filters))

    def retrieve_series(self, study_instance_uid: str, series_instance_uid: str) -> list[Dataset]:
        """The instances of a series, as stored. Raises `NotFound`, `BadFile`."""
        return [parse(path.read_bytes()) for path in self.instance_paths(study_instance_uid, series_instance_uid)]

    def retrieve_series_metadata(self, study_instance_uid: str, series_instance_uid: str) -> list[dict[str, Any]]:
        """The headers of a series' instances, without bulk data. Raises `NotFound`, `BadFile`."""
        return [_metadata(path) for path in self.instance_paths(study_instance_uid, series_instance_uid)]

    def retrieve_instance(self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> Dataset:
        """One instance, as stored. Raises `NotFound`, `BadFile`."""
        (path,) = self.instance_paths(study_instance_uid, series_instance_uid, sop_instance_uid)
        return parse(path.read_bytes())

    def retrieve_instance_metadata(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str
    ) -> dict[str, Any]:
        """The header of one instance, without bulk data. Raises `NotFound`, `BadFile`."""
        (path,) = self.instance_paths(study_instance_uid, series_instance_uid, sop_instance_uid)
        return _metadata(path)

    def instance_paths(self, study: str, series: str, sop: str = "") -> list[Path]:
        """The files of a series, or of one instance. Raises `NotFound`."""
        return [file.path for file in self.files(study, series, sop)]

    def files(self, study: str, series: str = "", sop: str = "") -> list[StoredFile]:
        """The files of a study, of a series, or of one instance. Raises `NotFound`."""
        rows = self.index.instances(study, series, sop)
        paths = [os.path.join(self.options.folder, row.path) for row in rows]
        if not rows or not _are_inside(os.path.realpath(self.options.folder), paths):
            raise NotFound("the folder has no such study, series or instance")
        return [
            StoredFile(Path(path), row.study, row.series, row.sop, row.syntax, row.header)
            for path, row in zip(paths, rows, strict=True)
        ]

    def volumes(self, study: str, series: str = "") -> list[VolumeFile]:
        """The volume files that are shown as the series of a study, or as one series."""
        shown = self.index.volumes(study, series)
        return [VolumeFile(one.case, one.facts.slope, one.facts.intercept) for one in shown]

    def store_file(self, file: bytes, study_instance_uid: str | None = None, *, in_use: bool = False) -> None:
        """Store a Part 10 file unchanged. Raises what `Receiver.store` raises."""
        self.receiver.store(parse(file), study_instance_uid, file, in_use=in_use)

    def store_instances(self, datasets: Sequence[Dataset], study_instance_uid: str | None = None) -> Dataset:
        """Store instances under `received/<series>/<instance>.dcm` in the folder.

        Returns which were stored and which not (DICOM PS3.18 annex I). Idempotent; a different object with the UID of a
        stored one is refused. Raises `OSError`.
        """
        from pydicom import Dataset

        stored, failed = [], []
        for dataset in datasets:
            item = Dataset()
            item.ReferencedSOPClassUID = dataset.get("SOPClassUID", "")
            item.ReferencedSOPInstanceUID = dataset.get("SOPInstanceUID", "")
            try:
                self.receiver.store(dataset, study_instance_uid, None)
                stored.append(item)
            except Conflict:
                item.FailureReason = ANOTHER_IS_STORED
                failed.append(item)
            except GeometryMismatch:
                item.FailureReason = DOES_NOT_MATCH
                failed.append(item)
            except (BadInput, AttributeError, TypeError, ValueError):
                item.FailureReason = CANT_BE_STORED
                failed.append(item)
        self.index.scan()
        answer = Dataset()
        if stored:
            answer.ReferencedSOPSequence = stored
        if failed:
            answer.FailedSOPSequence = failed
        return answer


def _are_inside(root: str, paths: Sequence[str]) -> bool:
    """Whether the files are still inside the folder: one may have been replaced by a link since the last scan."""
    folders = {os.path.dirname(path) for path in paths}
    return all(is_inside(root, os.path.join(folder, "x")) for folder in folders) and all(
        is_inside(root, path) for path in paths if os.path.islink(path)
    )


def _metadata(path: Path) -> dict[str, Any]:
    try:
        header = read_instance_header(path)
        for tag in [element.tag for element in _bulk(header)]:
            del header[tag]
        metadata: dict[str, Any] = header.to_json_dict(suppress_invalid_tags=True)
    except PARSER_ERRORS as error:
        raise BadFile(f"an instance's header can't be read ({type(error).__name__})") from error
    return metadata


def _bulk(header: Dataset) -> Iterator[Any]:
    return (element for element in header if element.VR in ("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
