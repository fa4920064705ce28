"""Listing the series of any DICOMweb service, page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from app.archives.dicom_json import CASE_FIELDS, Entry, case_of_entry, text
from app.archives.dicomweb.options import DicomwebOptions
from app.archives.dicomweb.session import answers_wanted
from app.core.case import Case
from app.errors import ArchiveUnavailable

REPEATS = 3

Search = Callable[[int, int], Sequence[Entry]]
"""One page: `(offset, limit)` to search results."""


class _Shifted(Exception):
    """Series were added or removed between two pages, so that some were skipped."""


def list_series(client: Any, options: DicomwebOptions) -> tuple[list[Case], bool]:
    """All series that are cases, and whether the list is certainly complete.

    Searches one modality at a time: services open an instance of every series in a result, and label series can be
    large. `client` is a `dicomweb_client.DICOMwebClient`. Raises `ArchiveUnavailable`.
    """
    cases: dict[str, Case] = {}
    complete = True
    for modality in options.modalities:
        search = _searcher(client, options, modality)
        entries, all_of_them = read_pages(search, options.page_size, options.max_series)
        complete = complete and all_of_them
        for entry in entries:
            # A service may ignore filters that it doesn't support.
            if text(entry, "Modality") != modality:
                continue
            case = case_of_entry(entry)
            if case is not None:
                cases[case.id] = case
    return list(cases.values()), complete


def _searcher(client: Any, options: DicomwebOptions, modality: str) -> Search:
    def search(offset: int, limit: int) -> Sequence[Entry]:
        with answers_wanted(options.url):
            found = client.search_for_series(
                limit=limit,
                offset=offset,
                fields=CASE_FIELDS,
                search_filters={**options.filter, "Modality": modality},
            )
        return [entry for entry in found if isinstance(entry, dict)]

    return search


def read_pages(search: Search, page_size: int, most: int = 500_000) -> tuple[list[Entry], bool]:
    """All results of a paged search, and whether none was skipped.

    QIDO results have no defined order, and pages shift when series are added or removed in between. So consecutive
    pages overlap by one result; if the overlap differs, everything is read again. Raises `ArchiveUnavailable` for more
    than `most` results: a service that ignores `offset` may answer for ever.
    """
    entries: list[Entry] = []
    for _ in range(REPEATS):
        entries = []
        try:
            _read_all(search, page_size, entries, most)
        except _Shifted:
            continue
        return entries, True
    return entries, False


def _read_all(search: Search, page_size: int, entries: list[Entry], most: int) -> None:
    page = list(search(0, page_size))
    entries.extend(page)
    seen = {_uid(entry) for entry in entries}
    # More results than the limit: the service doesn't page, and this is everything. Fewer say nothing: it may have a
    # lower limit.
    while page and len(page) <= page_size:
        overlapping = search(len(entries) - 1, page_size + 1)
        if not overlapping or _uid(overlapping[0]) != _uid(entries[-1]):
            raise _Shifted
        page = list(overlapping[1:])
        uids = {_uid(entry) for entry in page}
        if uids & seen:
            raise _Shifted
        if len(entries) + len(page) > most:
            raise ArchiveUnavailable(f"the archive lists more than {most} series")
        entries.extend(page)
        seen |= uids


def _uid(entry: Entry) -> str:
    return text(entry, "SeriesInstanceUID")
