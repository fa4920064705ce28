"""Unique identifiers, checked before they touch a path or a URL."""

from __future__ import annotations

import re

from app.errors import BadInput

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")


def check_uid(value: str) -> str:
    """`value`, if it is a UID (DICOM PS3.5 9.1): at most 64 characters, numbers without leading zeros between dots.

    pydicom lets any text through, `../../x` too. Raises `BadInput`.
    """
    if len(value) > 64 or not _UID.fullmatch(value):
        raise BadInput(f"{value[:80]!r} is not a DICOM UID: digits and dots, at most 64 characters")
    return value
