"""What a plain installation brings may be used beside closed code, and the page that lists it is true."""

from __future__ import annotations

import re

from scripts.licences import PAGE, licences

FORBIDDEN = re.compile(r"(?<![Ll])(?<!Lesser )\b(?:A?GPL|GNU (?:Affero )?General Public)")


def test_nothing_under_the_gpl_is_required() -> None:
    found = licences()
    assert len(found) > 80
    assert [one for one in found if FORBIDDEN.search(one.licence)] == []


def test_every_package_is_listed() -> None:
    listed = set(re.findall(r"^\| ([^ |]+) \|", PAGE.read_text(), re.MULTILINE))
    assert {one.name for one in licences()} <= listed
