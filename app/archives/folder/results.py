"""Search results in DICOM JSON, from the index."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.archives.dicom_json import Entry, tag_of
from app.archives.folder.index import Row
from app.archives.folder.match import attribute, matcher
from app.dicom.values import check_uid
from app.errors import BadInput


def study_entry(series: Sequence[tuple[Row, int]]) -> Entry:
    """The result for a study, from an instance of each of its series and the number of instances of each."""
    headers = [json.loads(row.header) for row, _ in series]
    modalities = {v for header in headers for v in header.get(tag_of("Modality"), {}).get("Value", ())}
    return {
        **headers[0],
        tag_of("ModalitiesInStudy"): {"vr": "CS", "Value": sorted(modalities)},
        **number("NumberOfStudyRelatedSeries", len(series)),
        **number("NumberOfStudyRelatedInstances", sum(count for _, count in series)),
    }


@dataclass(frozen=True)
class Query:
    """The arguments of a search, as dicomweb-client's methods take them."""

    fuzzymatching: bool | None
    limit: int | None
    offset: int | None
    fields: Sequence[str] | None
    search_filters: Mapping[str, object] | None


def page(entries: Iterable[Entry], unasked: Sequence[str], query: Query) -> list[dict[str, Any]]:
    """The results that meet the filters, from the offset up to the limit, with the default fields (`unasked`) and those
    requested. Raises `BadOption`."""
    meets = matcher(query.search_filters or {}, unasked, fuzzy=bool(query.fuzzymatching))
    start = max(query.offset or 0, 0)
    stop = None if query.limit is None else start + max(query.limit, 0)
    some = itertools.islice(filter(meets, entries), start, stop)
    if query.fields and "all" in query.fields:
        return [dict(entry) for entry in some]
    tags = {tag_of(keyword) for keyword in unasked} | {attribute(name)[0] for name in query.fields or ()}
    return [{tag: entry[tag] for tag in entry if tag in tags} for entry in some]


def single_uid(search_filters: Mapping[str, object] | None, keyword: str) -> str:
    """The UID in a filter, if it is a single one, which narrows the query; "" otherwise."""
    filters = search_filters or {}
    value = str(filters.get(keyword, filters.get(tag_of(keyword), "")))
    try:
        return check_uid(value)
    except BadInput:
        return ""


def number(keyword: str, value: int) -> dict[str, Any]:
    """An integer element in DICOM JSON."""
    return {tag_of(keyword): {"vr": "IS", "Value": [value]}}


def available_syntax(uid: str) -> dict[str, Any]:
    """AvailableTransferSyntaxUID of an instance in DICOM JSON."""
    return {tag_of("AvailableTransferSyntaxUID"): {"vr": "UI", "Value": [uid]}}
