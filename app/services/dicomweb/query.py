"""The parameters of a QIDO-RS search (PS3.18 8.3.4, 10.6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from app.archives.folder.fields import COMPUTED_FIELDS, SEARCHABLE_FIELDS
from app.archives.folder.match import attribute
from app.errors import BadOption

Level = Literal["studies", "series", "instances"]

_HELD = frozenset(attribute(keyword)[0] for keyword in (*SEARCHABLE_FIELDS, *COMPUTED_FIELDS))
_OTHER = frozenset({"accept", "charset"})


@dataclass(frozen=True)
class Query:
    """`filters` are keyed by tag; `limit` None means no limit; `warnings` name the parameters that were ignored."""

    filters: Mapping[str, str]
    fields: tuple[str, ...]
    limit: int | None
    offset: int
    fuzzy: bool
    warnings: tuple[str, ...]


def query_of(items: Iterable[tuple[str, str]]) -> Query:
    """A query from the parameters of a URL, in their order.

    Parameters that are no DICOM attribute are ignored with a warning. A filter that isn't supported is an error,
    because ignoring it would return too much. Raises `BadOption`.
    """
    filters: dict[str, str] = {}
    fields: list[str] = []
    warnings: list[str] = []
    numbers: dict[str, int] = {}
    fuzzy = False
    for name, value in items:
        if name in ("limit", "offset"):
            numbers[name] = _number(name, value)
        elif name == "fuzzymatching":
            fuzzy = _truth(value)
        elif name == "includefield":
            for field in filter(None, value.split(",")):
                _add_field(field, fields, warnings)
        elif name not in _OTHER:
            _add_filter(name, value, filters, warnings)
    return Query(filters, tuple(fields), numbers.get("limit"), numbers.get("offset", 0), fuzzy, tuple(warnings))


def _add_field(name: str, fields: list[str], warnings: list[str]) -> None:
    if name.lower() == "all":
        fields.append("all")
        return
    try:
        tag, _ = attribute(name)
    except BadOption:
        tag = ""
    if tag in _HELD:
        fields.append(tag)
    else:
        warnings.append(f"includefield {name[:64]} is not supported")


def _add_filter(name: str, value: str, filters: dict[str, str], warnings: list[str]) -> None:
    if "." in name:
        raise BadOption(f"{name[:80]}: values within sequences can't be searched for here")
    try:
        tag, _ = attribute(name)
    except BadOption:
        warnings.append(f"parameter {name[:64]} is not supported")
        return
    if tag not in _HELD:
        raise BadOption(f"{name[:80]} can't be searched for here")
    if filters.setdefault(tag, value) != value:
        raise BadOption(f"{name[:80]} is asked for twice")


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise BadOption(f"{name} should be a number from 0, not {value[:80]!r}")
    return int(value)


def _truth(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise BadOption(f"fuzzymatching should be true or false, not {value[:80]!r}")
    return value.lower() == "true"
