"""The folder seen as a DICOMweb service: dicomweb-client's calls and kinds of values, without the network."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.archives.dicom_json import Entry, tag_of
from app.archives.folder.durable import put
from app.archives.folder.examine import read_instance_header
from app.archives.folder.fields import INSTANCE_FIELDS, SERIES_FIELDS, STUDY_FIELDS
from app.archives.folder.index import FolderIndex, Row
from app.archives.folder.match import attribute, matcher
from app.archives.folder.options import FolderOptions
from app.archives.folder.walk import is_inside
from app.dicom.parsing import PARSER_ERRORS, parse
from app.dicom.uids import check_uid
from app.errors import BadFile, BadInput, Conflict, NotFound

if TYPE_CHECKING:
    from pydicom import Dataset

CANT_BE_STORED = 0xC000
ANOTHER_IS_STORED = 0x0111
"""FailureReason: cannot understand (PS3.18 table I.2-2), duplicate SOP instance (PS3.4 table H.4-1)."""


@dataclass(frozen=True)
class FolderClient:
    """Search, retrieve and store in a folder, as of its index' last scan. Thread-safe.

    Results are DICOM JSON, in the order of their UIDs. An unknown filter raises `BadOption`, and UIDs that the folder
    doesn't have raise `NotFound`.
    """

    options: FolderOptions
    index: FolderIndex

    def search_for_studies(
        self,
        fuzzymatching: bool | None = None,
        limit: int | None = None,
        offset: int | None = None,
        fields: Sequence[str] | None = None,
        search_filters: Mapping[str, object] | None = None,
    ) -> list[dict[str, Any]]:
        """The studies that meet the filters."""
        rows = self.index.series(_uid(search_filters, "StudyInstanceUID"))
        studies = itertools.groupby(rows, key=lambda found: found[0].study)
        entries = (_study_entry(list(series)) for _, series in studies)
        return _page(entries, STUDY_FIELDS, fuzzymatching, limit, offset, fields, search_filters)

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
        study = study_instance_uid or _uid(search_filters, "StudyInstanceUID")
        rows = self.index.series(study, _uid(search_filters, "SeriesInstanceUID"))
        entries = ({**json.loads(row.header), **_number("NumberOfSeriesRelatedInstances", n)} for row, n in rows)
        wanted = (*STUDY_FIELDS, *SERIES_FIELDS)
        return _page(entries, wanted, fuzzymatching, limit, offset, fields, search_filters)

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
            study_instance_uid or _uid(search_filters, "StudyInstanceUID"),
            series_instance_uid or _uid(search_filters, "SeriesInstanceUID"),
            _uid(search_filters, "SOPInstanceUID"),
        )
        entries = ({**json.loads(row.header), **_syntax(row.syntax)} for row in rows)
        wanted = (*STUDY_FIELDS, *SERIES_FIELDS, *INSTANCE_FIELDS)
        return _page(entries, wanted, fuzzymatching, limit, offset, fields, search_filters)

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
        rows = self.index.instances(study, series, sop)
        paths = [self.options.folder / row.path for row in rows]
        # The index may be older than a link that was put in a file's place.
        root = os.path.realpath(self.options.folder)
        if not paths or not all(is_inside(root, str(path)) for path in paths):
            raise NotFound("the folder has no such study, series or instance")
        return paths

    def store_instances(self, datasets: Sequence[Dataset], study_instance_uid: str | None = None) -> Dataset:
        """Store instances under `received/<series>/<instance>.dcm` in the folder.

        Returns which were stored and which not (DICOM PS3.18 annex I). Storing an instance again is harmless; another
        object under the UID of one that is there is refused. Raises `OSError`.
        """
        from pydicom import Dataset

        stored, failed = [], []
        for dataset in datasets:
            item = Dataset()
            item.ReferencedSOPClassUID = dataset.get("SOPClassUID", "")
            item.ReferencedSOPInstanceUID = dataset.get("SOPInstanceUID", "")
            try:
                self._store(dataset, study_instance_uid)
                stored.append(item)
            except Conflict:
                item.FailureReason = ANOTHER_IS_STORED
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

    def _store(self, dataset: Dataset, study: str | None) -> None:
        series = check_uid(str(dataset.get("SeriesInstanceUID", "")))
        sop = check_uid(str(dataset.get("SOPInstanceUID", "")))
        if check_uid(str(dataset.get("StudyInstanceUID", ""))) != (study or dataset.StudyInstanceUID):
            raise BadInput("the instance is of another study")
        known = self.index.instances(sop=sop)
        if known:
            if parse((self.options.folder / known[0].path).read_bytes()) != dataset:
                raise Conflict(f"the folder holds another object as {sop}")
            return
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        put(stream.getvalue(), self.options.folder / "received" / series / f"{sop}.dcm")


def _study_entry(series: Sequence[tuple[Row, int]]) -> Entry:
    headers = [json.loads(row.header) for row, _ in series]
    modalities = {v for header in headers for v in header.get(tag_of("Modality"), {}).get("Value", ())}
    return {
        **headers[0],
        tag_of("ModalitiesInStudy"): {"vr": "CS", "Value": sorted(modalities)},
        **_number("NumberOfStudyRelatedSeries", len(series)),
        **_number("NumberOfStudyRelatedInstances", sum(count for _, count in series)),
    }


def _page(
    entries: Iterable[Entry],
    unasked: Sequence[str],
    fuzzymatching: bool | None,
    limit: int | None,
    offset: int | None,
    fields: Sequence[str] | None,
    search_filters: Mapping[str, object] | None,
) -> list[dict[str, Any]]:
    meets = matcher(search_filters or {}, unasked, fuzzy=bool(fuzzymatching))
    start = max(offset or 0, 0)
    stop = None if limit is None else start + max(limit, 0)
    page = itertools.islice(filter(meets, entries), start, stop)
    if fields and "all" in fields:
        return [dict(entry) for entry in page]
    tags = {tag_of(keyword) for keyword in unasked} | {attribute(name)[0] for name in fields or ()}
    return [{tag: entry[tag] for tag in entry if tag in tags} for entry in page]


def _uid(search_filters: Mapping[str, object] | None, keyword: str) -> str:
    """The UID that a filter asks for, if it asks for a single one: it narrows what has to be looked at."""
    filters = search_filters or {}
    value = str(filters.get(keyword, filters.get(tag_of(keyword), "")))
    try:
        return check_uid(value)
    except BadInput:
        return ""


def _number(keyword: str, value: int) -> dict[str, Any]:
    return {tag_of(keyword): {"vr": "IS", "Value": [value]}}


def _syntax(uid: str) -> dict[str, Any]:
    return {tag_of("AvailableTransferSyntaxUID"): {"vr": "UI", "Value": [uid]}}


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
