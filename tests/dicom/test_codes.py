"""Names that people give to structures become codes."""

from __future__ import annotations

import pytest
from pydicom.sr.codedict import codes

from app.core.mask import Code, Segment
from app.dicom.codes import _ABNORMAL, _ANATOMY, ABNORMAL, ANATOMY, TISSUE, codes_of


@pytest.mark.parametrize(
    ("name", "category", "value"),
    [
        ("Liver", ANATOMY, "10200004"),
        ("left_kidney", ANATOMY, "64033007"),
        ("Kidney (R)", ANATOMY, "64033007"),
        ("inferior vena cava", ANATOMY, "64131007"),
        ("urinary-bladder", ANATOMY, "89837001"),
        ("oesophagus", ANATOMY, "32849002"),
        ("liver tumor", ABNORMAL, "108369006"),
        ("Lesion 3", ABNORMAL, "52988006"),
        ("foreground", TISSUE, "85756007"),
        ("肝臓", TISSUE, "85756007"),
        ("", TISSUE, "85756007"),
    ],
)
def test_names(name, category, value):
    found_category, found = codes_of(Segment(1, name))
    assert (found_category, found.value) == (category, value)


def test_a_segment_keeps_its_own_codes():
    own = Code("1", "X", "a"), Code("2", "X", "b")
    assert codes_of(Segment(1, "liver", category=own[0], type=own[1])) == own


def test_the_codes_are_those_of_snomed():
    known = {code.value for code in (getattr(codes.SCT, keyword) for keyword in codes.SCT.dir())}
    assert set(_ANATOMY.values()) | set(_ABNORMAL.values()) <= known
