"""Search results in DICOM JSON, made of what the index keeps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.archives.dicom_json import Entry, tag_of
from app.archives.folder.index import Row
from app.archives.folder.match import attribute, matcher
from app.dicom.uids import check_uid
from app.errors import BadInput


def study_entry(series: Sequence[tuple[Row, int]]) -> Entry:
    """A study, of one instance of each of its series and how many instances that has."""
    headers = [json.loads(row.header) for row, _ in series]
    modalities = {v for header in headers for v in header.get(tag_of("Modality"), {}).get("Value", ())}
    return {
        **headers[0],
        tag_of("ModalitiesInStudy"): {"vr": "CS", "Value": sorted(modalities)},
        **number("NumberOfStudyRelatedSeries", len(series)),
        **number("NumberOfStudyRelatedInstances", sum(count for _, count in series)),
    }


def page(
    entries: Iterable[Entry],
    unasked: Sequence[str],
    fuzzymatching: bool | None,
    limit: int | None,
    offset: int | None,
    fields: Sequence[str] | None,
    search_filters: Mapping[str, object] | None,
) -> list[dict[str, Any]]:
    """The results that meet the filters, from `offset` on, `limit` at most: with the fields that come `unasked`, and
    those that were asked for. Raises `BadOption`."""
    meets = matcher(search_filters or {}, unasked, fuzzy=bool(fuzzymatching))
    start = max(offset or 0, 0)
    stop = None if limit is None else start + max(limit, 0)
    some = itertools.islice(filter(meets, entries), start, stop)
    if fields and "all" in fields:
        return [dict(entry) for entry in some]
    tags = {tag_of(keyword) for keyword in unasked} | {attribute(name)[0] for name in fields or ()}
    return [{tag: entry[tag] for tag in entry if tag in tags} for entry in some]


def single_uid(search_filters: Mapping[str, object] | None, keyword: str) -> str:
    """The UID that a filter asks for, if it asks for a single one: it narrows what has to be looked at."""
    filters = search_filters or {}
    value = str(filters.get(keyword, filters.get(tag_of(keyword), "")))
    try:
        return check_uid(value)
    except BadInput:
        return ""


def number(keyword: str, value: int) -> dict[str, Any]:
    """An element that counts something."""
    return {tag_of(keyword): {"vr": "IS", "Value": [value]}}


def available_syntax(uid: str) -> dict[str, Any]:
    """In which transfer syntax an instance is stored."""
    return {tag_of("AvailableTransferSyntaxUID"): {"vr": "UI", "Value": [uid]}}
