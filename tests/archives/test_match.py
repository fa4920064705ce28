"""Filters of searches."""

from __future__ import annotations

import pytest

from app.archives.folder.match import matcher

ENTRY = {
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "00080061": {"vr": "CS", "Value": ["CT", "SEG"]},
    "00081030": {"vr": "LO", "Value": ["Chest [low] dose"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg"}]},
    "00080020": {"vr": "DA", "Value": ["20240102"]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
}


@pytest.mark.parametrize(
    ("name", "value", "meets"),
    [
        ("ModalitiesInStudy", "MR,SEG", True),
        ("ModalitiesInStudy", "MR\\SEG", True),
        ("ModalitiesInStudy", "MR,PT", False),
        ("Modality", "C*", True),
        ("Modality", "ct", False),
        ("StudyDescription", "*LOW*", True),
        ("StudyDescription", "chest [low]?dose", True),
        ("StudyDescription", "*[low", False),
        ("PatientName", "MÜLLER*", True),
        ("StudyDate", "20240102-", True),
        ("StudyDate", "-20240101", False),
        ("StudyInstanceUID", "9.9,1.2.3", True),
        ("StudyInstanceUID", "1.2.*", False),
    ],
)
def test_what_meets(name: str, value: str, meets: bool) -> None:
    assert matcher({name: value}, ("ModalitiesInStudy",))(ENTRY) is meets
