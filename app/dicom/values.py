"""Header values read directly from raw elements.

pydicom converts an element on first access, which takes about 10 microseconds; an image needs twenty of them, and a
series has hundreds of images. Elements that are converted already, or whose VR isn't text or a number, go through
pydicom.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from app.errors import BadInput

_TEXT = {"AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI"}


def text(dataset: Dataset, tag: BaseTag) -> str | None:
    """The value as text, several values with backslashes between them; None if absent or empty."""
    value = _value(dataset, tag, _TEXT)
    return None if value is None else _text(value)


def numbers(dataset: Dataset, tag: BaseTag) -> tuple[float, ...] | None:
    """The finite numbers of a decimal or integer string; None if absent or empty, `()` if they aren't numbers."""
    value = text(dataset, tag)
    return None if value is None else _numbers(value)


def integer(dataset: Dataset, tag: BaseTag, default: int | None = None) -> int:
    """The value of a US element. Raises `ValueError` if it is absent without a default, or isn't one integer."""
    value = _value(dataset, tag, {"US"})
    if isinstance(value, bytes) and len(value) == 2:
        return int.from_bytes(value, "little")
    if value is None and default is not None:
        return default
    return int(str(value))


def _value(dataset: Dataset, tag: BaseTag, plain: set[str]) -> object:
    """The element's bytes if its VR is in `plain`, else its value as pydicom converts it."""
    element = dataset.get_item(tag)
    if element is None:
        return None
    if isinstance(element, RawDataElement) and element.VR in plain and (element.is_little_endian or plain is _TEXT):
        return element.value or None
    value = dataset[tag].value
    return None if value in ("", []) else value


@lru_cache(maxsize=4096)
def _decoded(value: bytes) -> str | None:
    return value.decode("ascii", "replace").strip("\0 ") or None


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return _decoded(value)
    if isinstance(value, str):
        return value.strip() or None
    try:
        return "\\".join(str(part) for part in value)  # type: ignore[attr-defined]
    except TypeError:
        return str(value)


@lru_cache(maxsize=4096)
def _numbers(value: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in value.split("\\"))
    except ValueError:
        return ()
    return found if all(math.isfinite(number) for number in found) else ()


_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")


def check_uid(value: str) -> str:
    """`value`, if it is a UID (DICOM PS3.5 9.1): at most 64 characters, numbers without leading zeros between dots.

    pydicom accepts any text, even `../../x`. Raises `BadInput`.
    """
    if len(value) > 64 or not _UID.fullmatch(value):
        raise BadInput(f"{value[:80]!r} is not a DICOM UID: digits and dots, at most 64 characters")
    return value
