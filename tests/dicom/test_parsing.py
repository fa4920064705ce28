"""Hostile DICOM bytes are refused before they cost memory, and UIDs before they touch a path."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from app.dicom.parsing import parse
from app.dicom.series import SeriesBuilder
from app.dicom.values import check_uid
from app.errors import BadFile, BadInput, UnusableSeries
from tests.dicom.synthetic import ct_series, encode


def meta(syntax: str) -> bytes:
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    element = struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(element)) + element


def refused(data: bytes, match: str | None = None) -> None:
    tracemalloc.start()
    with pytest.raises((BadFile, UnusableSeries), match=match):
        SeriesBuilder().add(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20


def test_deflated_files_are_refused_before_they_are_inflated():
    deflate = zlib.compressobj(wbits=-15)
    bomb = deflate.compress(bytes(100_000_000)) + deflate.flush()
    refused(meta(DeflatedExplicitVRLittleEndian) + bomb, "deflated")
    refused(meta("1.2.840.10008.1.2.4.95") + bomb, "deflated")


def test_sequences_nested_too_deeply():
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + item
    refused(meta("1.2.840.10008.1.2.1") + sequence * 5000, "nested too deeply")


@pytest.mark.parametrize(
    "data", [b"", b"x" * 20, bytes(200), bytes(128) + b"DICM", bytes(128) + b"DICM" + b"\xff" * 99]
)
def test_what_is_no_dicom(data):
    refused(data)


def test_more_or_fewer_pixels_than_declared():
    for change, match in (
        ({"Rows": 65535, "Columns": 65535}, "more than this server takes|declares"),
        ({"NumberOfFrames": "2000000000"}, "more than this server takes"),
        ({"Rows": 21}, "declares 672 bytes of pixels and has 640"),
        ({"Rows": 10}, "declares 320 bytes of pixels and has 640"),
        ({"Rows": 0}, "declares"),
        ({"BitsAllocated": 12}, "12 bits per pixel"),
        ({"BitsStored": 17}, "17 of 16 bits"),
        ({"HighBit": 16}, "highest being bit 16"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "1 bits per pixel"),
    ):
        dataset = ct_series((1, 20, 16))[0][0]
        for keyword, value in change.items():
            setattr(dataset, keyword, value)
        refused(encode(dataset), match)


def test_the_file_ends_within_its_pixels():
    data = encode(ct_series((1, 20, 16))[0][0])
    refused(data[:-100])


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_frames_of_another_size(syntax):
    dataset = ct_series((1, 64, 64), transfer_syntax=syntax)[0][0]
    dataset.Rows = dataset.Columns = 4096
    refused(encode(dataset))


def test_a_codestream_that_is_larger_than_declared_is_not_decoded():
    dataset = ct_series((1, 64, 64), transfer_syntax=JPEGLSLossless)[0][0]
    data = bytearray(encode(dataset))
    at = data.index(b"\xff\xf7")
    struct.pack_into(">HH", data, at + 5, 60000, 60000)
    refused(bytes(data), "its compressed frame says")


def test_an_unknown_transfer_syntax_is_named():
    dataset = ct_series((1, 8, 8))[0][0]
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    with pytest.raises(UnusableSeries, match="MPEG2"):
        SeriesBuilder().add(dataset)


def test_errors_do_not_quote_the_file():
    dataset = ct_series((1, 8, 8))[0][0]
    dataset.PatientName = "MARKER^NAME"
    data = bytearray(encode(dataset))
    at = data.index(b"MARKER")
    data[at - 2 : at] = b"\xff\xff"
    with pytest.raises(BadInput) as caught:
        SeriesBuilder().add(bytes(data))
    assert "MARK" not in str(caught.value)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_changed_bytes_never_raise_anything_else(data):
    changed = bytearray(ENCODED)
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(128, len(changed) - 650))] = data.draw(st.integers(0, 255))
    builder = SeriesBuilder(max_bytes=1 << 20)
    try:
        builder.add(bytes(changed))
        builder.build()
    except BadInput:
        pass


def test_number_of_the_wrong_length_is_a_bad_file():
    changed = bytearray(ENCODED)
    changed[138] = 1  # the length of (0002,0000), whose value takes four bytes
    with pytest.raises(BadFile):
        SeriesBuilder(max_bytes=1 << 20).add(bytes(changed))


ENCODED = encode(ct_series((1, 20, 16))[0][0])


@pytest.mark.parametrize("good", ["1", "1.2.840.10008.1.2", "0.0", "2.25." + "9" * 39, "1." + "2" * 62])
def test_uids(good):
    assert check_uid(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "1.",
        ".1",
        "1..2",
        "01.2",
        "1.02",
        "../../x",
        "1.2/3",
        "1.2\n",
        "1.2 ",
        "1.a",
        "\u0661.\u0662",
        "1." + "2" * 63,
    ],
)
def test_what_is_no_uid(bad):
    with pytest.raises(BadInput):
        check_uid(bad)


def test_a_dataset_without_anything():
    with pytest.raises(UnusableSeries):
        SeriesBuilder().add(Dataset())
    assert isinstance(parse(ENCODED), pydicom.Dataset)
