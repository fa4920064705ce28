"""Whether a search result meets a QIDO filter (DICOM PS3.4 C.2.2.2: single values, lists, wildcards, ranges)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate

from app.archives.dicom_json import Entry, tag_of
from app.archives.folder.fields import SEARCHABLE_FIELDS
from app.errors import BadOption

RANGED_VRS = frozenset({"DA", "TM", "DT"})
FOLDED_VRS = frozenset({"PN", "LO", "SH", "LT", "ST", "UC", "UT"})
"""VRs that are matched without case, as other archives do: a search for "chest" should find "Chest". PS3.4 allows that
for names only."""
NO_WILDCARD_VRS = frozenset({"UI", "DA", "TM", "DT", "IS", "DS", "US", "SS", "UL", "SL", "FL", "FD", "AT"})

MAX_PATTERN = 1024
"""Characters of a value with wildcards, and of a stored value that is compared with it. The longest value of any of
these VRs but UC has 324 (PN)."""

Matcher = Callable[[Entry], bool]


def matcher(filters: Mapping[str, object], fields: Sequence[str], *, fuzzy: bool = False) -> Matcher:
    """A function that tells whether a result meets all `filters`, keyword or tag to value.

    The `fields` of the level can be searched, and everything else that the index keeps. With `fuzzy`, words of names
    match by prefix. Raises `BadOption` for any other attribute: filters are never ignored.
    """
    known = {tag_of(keyword) for keyword in (*fields, *SEARCHABLE_FIELDS)}
    for name in filters:
        if attribute(name)[0] not in known:
            raise BadOption(f"{name[:80]} can't be searched for here")
    tests = [_test(attribute(name), str(value), fuzzy) for name, value in filters.items()]
    return lambda entry: all(test(entry) for test in tests)


def attribute(name: str) -> tuple[str, str]:
    """Tag (as DICOM JSON spells it) and VR of a keyword or tag. Raises `BadOption`."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag = int(name, 16) if re.fullmatch(r"[0-9A-Fa-f]{8}", name) else tag_for_keyword(name)
    try:
        if tag is None:
            raise KeyError(name)
        vr = dictionary_VR(tag).split(" ")[0]
    except KeyError:
        raise BadOption(f"{name[:80]!r} is not a DICOM attribute") from None
    return f"{tag:08X}", vr


def _test(tag_and_vr: tuple[str, str], wanted: str, fuzzy: bool) -> Matcher:
    tag, vr = tag_and_vr
    if wanted in ("", "*", '""'):
        return lambda entry: True
    accepts = _accepts(vr, wanted, fuzzy)
    return lambda entry: any(accepts(value) for value in _values(entry, tag))


def _accepts(vr: str, wanted: str, fuzzy: bool) -> Callable[[str], bool]:
    if vr in RANGED_VRS and "-" in wanted:
        return _range(vr, wanted)
    if vr == "UI":
        listed = frozenset(re.split(r"[,\\]", wanted))
        return lambda value: value in listed
    if vr == "PN" and fuzzy:
        words = [word.casefold() for word in re.split(r"[\s^=,*]+", wanted) if word]
        return lambda value: all(any(part.startswith(w) for part in _words(value)) for w in words)
    fold = str.casefold if vr in FOLDED_VRS else str
    folded = fold(wanted)
    # Code strings can't contain a comma, so it can separate them in a list (OHIF's modalities).
    options = re.split(r"[,\\]", folded) if vr == "CS" else folded.split("\\")
    if vr in NO_WILDCARD_VRS or not re.search(r"[*?]", folded):
        return lambda value: fold(value) in options
    if len(folded) > MAX_PATTERN:
        raise BadOption(f"values with wildcards have at most {MAX_PATTERN} characters, not {len(folded)}")
    # "[" isn't a wildcard in DICOM.
    patterns = [re.compile(translate(option.replace("[", "[[]"))) for option in options]
    return lambda value: any(p.match(fold(value[:MAX_PATTERN])) for p in patterns)


def _range(vr: str, wanted: str) -> Callable[[str], bool]:
    first, _, last = (part.strip() for part in wanted.partition("-"))
    if not all(re.fullmatch(r"[0-9.]*", part) for part in (first, last)) or not (first or last):
        raise BadOption(f"{wanted[:80]!r} is not a range of {'dates' if vr == 'DA' else 'times'}")
    # The end of a range is inclusive at its precision: "-1030" includes that whole minute.
    return lambda value: value >= first and (not last or value[: len(last)] <= last)


def _words(value: str) -> list[str]:
    return [word.casefold() for word in re.split(r"[\s^=]+", value) if word]


def _values(entry: Entry, tag: str) -> Sequence[str]:
    element = entry.get(tag)
    values = element.get("Value", ()) if isinstance(element, Mapping) else ()
    return [
        str(value.get("Alphabetic", "") if isinstance(value, Mapping) else value).strip()
        for value in values
        if value is not None
    ]
