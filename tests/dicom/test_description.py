"""What the catalog learns of a series from its headers."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from app.dicom.series import case_of
from app.errors import BadInput
from tests.dicom.synthetic import ct_series


def test_a_case_of_headers():
    datasets, _ = ct_series()
    case = case_of(datasets, "stamp", location="somewhere", warnings=("gantry tilt",))
    first = datasets[0]
    assert (case.id, case.kind, case.stamp) == (first.SeriesInstanceUID, "series", "stamp")
    assert (case.patient_id, case.modality, case.instances) == ("PHANTOM-00000", "CT", 9)
    assert (case.study_uid, case.frame_of_reference_uid) == (first.StudyInstanceUID, first.FrameOfReferenceUID)
    assert (case.study_date, case.study_time, case.body_part) == ("20240102", "101112", "ABDOMEN")
    assert (case.description, case.manufacturer) == ("Synthetic CT", "Synthetic")
    assert (case.location, case.warnings) == ("somewhere", ("gantry tilt",))


def test_missing_values_are_empty_and_texts_are_one_line():
    header = Dataset()
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2", "1.3"
    header.SeriesDescription = "a\r\nb\x1b[31m" + "c" * 300
    case = case_of([header], "stamp")
    assert (case.patient_id, case.modality, case.frame_of_reference_uid) == ("", "", "")
    assert case.description.startswith("ab[31mccc")
    assert len(case.description) == 256
    assert case.patient_key == "1.2"


def test_uids_are_checked():
    header = Dataset()
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2", "../../x"
    with pytest.raises(BadInput, match="is not a DICOM UID"):
        case_of([header], "stamp")
    with pytest.raises(BadInput, match="without instances"):
        case_of([], "stamp")
