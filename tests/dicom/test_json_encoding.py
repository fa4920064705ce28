"""DICOM JSON of headers, against pydicom's."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from app.dicom.json_encoding import INLINE_BYTES, JsonEncoder, bulk_value, with_root
from tests.dicom.synthetic import ct_series, encode, enhanced_series

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless]


def headers(datasets: list[Dataset]) -> list[Dataset]:
    return [pydicom.dcmread(io.BytesIO(encode(dataset)), stop_before_pixels=True) for dataset in datasets]


def encoded(dataset: Dataset, encoder: JsonEncoder | None = None) -> dict[str, Any]:
    (header,) = headers([dataset])
    return json.loads((encoder or JsonEncoder()).instance(header, None, "1.2", "studies/1"))  # type: ignore[no-any-return]


def expected(dataset: Dataset) -> dict[str, Any]:
    values: dict[str, Any] = dataset[:0x7FE00000].to_json_dict(suppress_invalid_tags=True)
    return {**values, "00083002": {"vr": "UI", "Value": ["1.2"]}}


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_series_is_pydicom_s(syntax: str) -> None:
    datasets, _ = ct_series((4, 10, 12), transfer_syntax=syntax, orientation="oblique")
    encoder = JsonEncoder()
    for dataset in datasets:
        assert encoded(dataset, encoder) == expected(dataset)


def test_functional_groups_and_codes() -> None:
    for shared in (True, False):
        dataset, _ = enhanced_series((4, 10, 12), shared=shared)
        assert encoded(dataset) == expected(dataset)


def test_text_of_any_character_set_is_utf8() -> None:
    (dataset,), _ = ct_series((1, 8, 8))
    encoder = JsonEncoder()
    for characters, name in (
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Müller^Jörg"),
        ("ISO_IR 144", "\u041b\u044e\u043a"),
    ):
        dataset.SpecificCharacterSet, dataset.PatientName = characters, name
        found = encoded(dataset, encoder)
        assert found["00100010"]["Value"] == [{"Alphabetic": name}]
        assert found["00080005"]["Value"] == ["ISO_IR 192"]


def test_what_can_t_be_said_is_left_out() -> None:
    (dataset,), _ = ct_series((1, 8, 8))
    dataset.SliceThickness = None
    content = encode(dataset).replace(b"20240102", b"NOT A DA").replace(b"DS\x04\x00120 ", b"DS\x04\x00abc ")
    header = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    found = json.loads(JsonEncoder().instance(header, None, "1.2", "x"))
    assert found["00180050"] == {"vr": "DS"}
    assert "00180060" not in found
    assert found["00100020"]["Value"] == ["PHANTOM-00000"]


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_bulk_data_is_where_its_address_says(syntax: str) -> None:
    (dataset,), _ = ct_series((1, 8, 8), transfer_syntax=syntax)
    small, large = bytes(range(8)), bytes(range(256)) * 8
    assert len(small) <= INLINE_BYTES < len(large)
    inner = Dataset()
    inner.RedPaletteColorLookupTableData = large
    inner["RedPaletteColorLookupTableData"].VR = "OW"
    inner.EncapsulatedDocument = small
    dataset.ModalityLUTSequence = [Dataset(), inner]
    dataset.EncapsulatedDocument = large
    (header,) = headers([dataset])
    text = JsonEncoder().instance(header, None, "1.2", "studies/1/series/2/instances/3").encode()
    found = json.loads(with_root(text, b"http://here/dicom-web"))
    root = "http://here/dicom-web/studies/1/series/2/instances/3/bulkdata/"
    assert found["00420011"]["BulkDataURI"] == root + "00420011"
    second = found["00283000"]["Value"][1]
    assert base64.b64decode(second["00420011"]["InlineBinary"]) == small
    path = second["00281201"]["BulkDataURI"].removeprefix(root)
    assert path == "00283000/2/00281201"
    swapped = b"".join(large[n + 1 : n + 2] + large[n : n + 1] for n in range(0, len(large), 2))
    assert bulk_value(header, path) == (swapped if syntax == ExplicitVRBigEndian else large)
    assert bulk_value(header, "00420011") == large


@pytest.mark.parametrize(
    "path", ["", "x", "00100010", "00420011", "00283000/9/00281201", "00283000/1", "7FE00010/1/2/3"]
)
def test_addresses_of_nothing(path: str) -> None:
    (header,) = headers(ct_series((1, 8, 8))[0])
    with pytest.raises(KeyError):
        bulk_value(header, path)


def test_a_value_can_t_pretend_to_be_an_address() -> None:
    (dataset,), _ = ct_series((1, 8, 8))
    dataset.PatientID = '"BulkDataURI":"x'
    (header,) = headers([dataset])
    text = with_root(JsonEncoder().instance(header, None, "1.2", "x").encode(), b"http://evil")
    assert json.loads(text)["00100020"]["Value"] == ['"BulkDataURI":"x']
