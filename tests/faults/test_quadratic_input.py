"""Every parser of bytes from outside takes time in proportion to them: inputs made to be quadratic, at two lengths.

What is compared is processor time within one run, so that other work on the machine doesn't count. A linear parser
takes four times as long for four times the input, a quadratic one sixteen times.
"""

from __future__ import annotations

import gzip
import io
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from python_multipart.multipart import MultipartParser, parse_options_header

from app.archives.dicom_json import case_of_entry
from app.archives.folder.examine import examine
from app.archives.folder.match import matcher
from app.core.volume import Geometry
from app.dialects.dicomweb.accept import parsed
from app.dialects.itksnap.buffers import read_drawing
from app.dialects.itksnap.metadata import Grid
from app.dialects.slicer_legacy import npy
from app.dicom.json_encoding import JsonEncoder
from app.dicom.parsing import parse
from app.errors import BadInput
from app.formats.label_files import described_segments, read_label
from app.formats.metaimage import parse_metaimage
from app.formats.multipart_related import BrokenMultipart, boundary_of, read_parts
from app.formats.nifti import nifti_header_bytes
from app.formats.nrrd import parse_nrrd
from app.formats.volume_files import read_volume
from app.services.dicomweb.proxy import Addresses
from app.services.dicomweb.query import query_of

MOST_GROWTH = 8.0
NO_TIME = 0.05
"""Seconds under which a parser isn't measured: at these lengths the quadratic ones took from 0.1 s to 20 s."""

ONE_VOXEL = Geometry((1, 1, 1), np.eye(4))
NRRD = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 1 1 1\nencoding: raw\nspace: lps\n"
META = b"ObjectType = Image\nNDims = 3\nElementType = MET_UCHAR\n"
NIFTI = nifti_header_bytes(ONE_VOXEL, np.dtype(np.uint8)) + b"\1"
EMPTY_MEMBER = gzip.compress(b"", mtime=0)
FIELD = b"--B\r\nContent-Disposition: form-data; name=a"

NRRD_HEADERS: dict[str, tuple[Callable[[int], bytes], int]] = {
    "opening brackets": (lambda n: b"space directions: " + b"(" * n, 16_000),
    "vectors without an end": (lambda n: b"space directions: " + b"(1," * n, 16_000),
    "many nones": (lambda n: b"space directions: " + b"none" * n, 16_000),
    "many sizes": (lambda n: b"sizes:" + b" 1" * n, 30_000),
    "a line without a colon": (lambda n: b"a" * n, 200_000),
    "line ends": (lambda n: b"\r" * n, 200_000),
    "carriage returns before an end": (lambda n: b"#" + b"\r\r\n" * n, 50_000),
    "backslashes": (lambda n: b"a:=" + b"\\" * n, 200_000),
    "a long number": (lambda n: b"spacings: 1 1 0." + b"1" * n + b"e5", 200_000),
    "signs": (lambda n: b"spacings: 1 1 " + b"+-" * n, 100_000),
}

META_HEADERS: dict[str, tuple[Callable[[int], bytes], int]] = {
    "blanks without a line end": (lambda n: b"Comment =" + b" " * n, 10_000),
    "tabs and blanks": (lambda n: b"Comment\t =" + b"\t " * n, 5_000),
    "a long name": (lambda n: b"a" * n, 16_000),
    "a long number": (lambda n: b"DimSize = 1 1 " + b"1" * n + b"\nElementDataFile = LOCAL\n", 16_000),
    "many numbers": (lambda n: b"DimSize =" + b" 1" * n + b"\nElementDataFile = LOCAL\n", 16_000),
}

SEGMENTS: dict[str, tuple[Callable[[int], dict[str, str]], int]] = {
    "terms that begin again": (lambda n: {"Segment0_Tags": "TerminologyEntry:" * n}, 5_000),
    "terms without an end": (lambda n: {"Segment0_Tags": "TerminologyEntry:~" + "a^" * n}, 50_000),
    "many tags": (lambda n: {"Segment0_Tags": "TerminologyEntry:a~|" * n}, 5_000),
    "a long color": (lambda n: {"Segment0_Color": "1 " * n}, 50_000),
}

TYPES: dict[str, tuple[Callable[[int], str], int]] = {
    "an open quote": (lambda n: 'multipart/related; a="' + ";" * n, 10_000),
    "escaped quotes": (lambda n: 'multipart/related; a="' + '\\";' * n, 5_000),
    "many parameters": (lambda n: "multipart/related" + "; a=b" * n, 10_000),
    "continued parameters": (lambda n: "multipart/related" + "".join(f"; a*{i}=b" for i in range(n)), 5_000),
    "percent signs": (lambda n: "multipart/related; boundary*=utf-8''" + "%41" * n, 10_000),
}

BODIES: dict[str, tuple[Callable[[int], bytes], int]] = {
    "small parts": (lambda n: b"--B" + b"\r\n\r\na\r\n--B" * n + b"--", 5_000),
    "small parts with a length": (lambda n: b"--B" + b"\r\nContent-Length: 1\r\n\r\na\r\n--B" * n + b"--", 3_000),
    "what begins like a boundary": (lambda n: b"--B\r\n\r\n" + b"\r\n--BX" * n + b"\r\n--B--", 50_000),
    "many headers": (lambda n: b"--B\r\n" + b"a:b\r\n" * n + b"\r\na\r\n--B--", 2_500),
    "carriage returns": (lambda n: b"--B\r\n\r\n" + b"\r" * n + b"\r\n--B--", 200_000),
}

FORMS: dict[str, tuple[Callable[[int], bytes], int]] = {
    "a long name": (lambda n: FIELD + b"a" * n + b"\r\n\r\n\r\n--B--\r\n", 200_000),
    "many headers": (lambda n: b"--B\r\n" + b"a: b\r\n" * n + b"\r\n\r\n--B--\r\n", 20_000),
    "carriage returns": (lambda n: FIELD + b"\r\n\r\n" + b"\r" * n + b"\r\n--B--\r\n", 200_000),
    "what begins like a boundary": (lambda n: FIELD + b"\r\n\r\n" + b"\r\n--" * n + b"\r\n--B--\r\n", 100_000),
    "empty parts": (lambda n: (FIELD + b"\r\n\r\n\r\n") * n + b"--B--\r\n", 5_000),
}

SEARCHES: dict[str, tuple[Callable[[int], list[tuple[str, str]]], int]] = {
    "wildcards": (lambda n: [("PatientName", "*a" * n + "b")], 2_000),
    "question marks": (lambda n: [("PatientName", "?*" * n + "b")], 2_000),
    "brackets": (lambda n: [("PatientName", "*[" * n + "b")], 2_000),
    "a list of patterns": (lambda n: [("PatientName", "*a\\" * n)], 2_000),
    "a list of UIDs": (lambda n: [("StudyInstanceUID", "1.2," * n)], 50_000),
    "words": (lambda n: [("PatientName", "a " * n), ("fuzzymatching", "true")], 10_000),
    "fields": (lambda n: [("includefield", "a," * n)], 5_000),
    "unknown parameters": (lambda n: [(f"a{i}", "") for i in range(n)], 5_000),
    "a range": (lambda n: [("StudyDate", "1" * n + "-" + "1" * n)], 50_000),
}

DICOM: dict[str, tuple[Callable[[int], bytes], int]] = {
    "character sets": (lambda n: element(8, 5, b"UN", b"\\ISO 2022 IR 87" * n) + escapes(n), 3_000),
    "escape sequences": (lambda n: element(8, 5, b"UN", b"\\ISO 2022 IR 87") + escapes(n), 2_000),
    "a value of many": (lambda n: element(8, 0x119, b"UC", b"a\\" * n), 50_000),
    "a long number": (lambda n: element(0x20, 0x13, b"UN", b"1" * n), 50_000),
    "a long UID": (lambda n: element(8, 0x18, b"UN", b"1." * n), 50_000),
    "a long name": (lambda n: element(0x10, 0x10, b"UN", b"a^=" * n), 50_000),
    "empty items": (lambda n: element(0x40, 0xA730, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, 0) * n), 2_000),
    "meta elements": (lambda n: struct.pack("<HH2sH", 2, 0x16, b"AE", 0) * n, 4_000),
}


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2s2xL", group, number, vr, len(value)) + value


def escapes(n: int) -> bytes:
    return element(8, 0x119, b"UC", b"\x1b$Ba" * n)


def grows_linearly(work: Callable[[int], object], n: int) -> None:
    def seconds(count: int) -> float:
        started = time.process_time()
        with suppress(BadInput, BrokenMultipart):
            work(count)
        return time.process_time() - started

    seconds(10)  # what is imported at the first call
    short, long = (min(seconds(count) for _ in range(2)) for count in (n, 4 * n))
    assert long < max(NO_TIME, MOST_GROWTH * short), f"{n}: {short:.3f} s, {4 * n}: {long:.3f} s"


@pytest.mark.parametrize("trap", NRRD_HEADERS)
def test_nrrd_headers(trap: str) -> None:
    header, n = NRRD_HEADERS[trap]
    grows_linearly(lambda count: parse_nrrd(NRRD + header(count) + b"\n\n"), n)


@pytest.mark.parametrize("trap", META_HEADERS)
def test_metaimage_headers(trap: str) -> None:
    header, n = META_HEADERS[trap]
    grows_linearly(lambda count: parse_metaimage(META + header(count)), n)


@pytest.mark.parametrize("trap", SEGMENTS)
def test_descriptions_of_segments(trap: str) -> None:
    fields, n = SEGMENTS[trap]
    grows_linearly(lambda count: described_segments({"Segment0_LabelValue": "1", **fields(count)}), n)


def test_many_segments_in_many_layers(tmp_path: Path) -> None:
    def file(count: int) -> None:
        names = b"".join(b"Segment%d_LabelValue:=1\nSegment%d_Layer:=%d\n" % (i, i, i) for i in range(count))
        header = NRRD.replace(b"dimension: 3", b"dimension: 4").replace(b"1 1 1", b"%d 1 1 1" % count) + names
        directions = b"space directions: none (1,0,0) (0,1,0) (0,0,1)\n\n"
        (tmp_path / "a.seg.nrrd").write_bytes(header + directions + b"\1" * count)
        read_label(tmp_path / "a.seg.nrrd", ONE_VOXEL)

    grows_linearly(file, 60)


@pytest.mark.parametrize("trap", TYPES)
def test_content_types(trap: str) -> None:
    kind, n = TYPES[trap]
    grows_linearly(lambda count: boundary_of(kind(count)), n)
    grows_linearly(lambda count: parse_options_header(kind(count)), n)
    grows_linearly(lambda count: parsed(kind(count)), n)


@pytest.mark.parametrize("trap", BODIES)
def test_multipart_bodies(trap: str) -> None:
    body, n = BODIES[trap]
    grows_linearly(lambda count: list(read_parts(io.BytesIO(body(count)).read, b"B")), n)


@pytest.mark.parametrize("trap", FORMS)
def test_forms(trap: str) -> None:
    body, n = FORMS[trap]

    def parse_form(count: int) -> None:
        content = body(count)
        parser = MultipartParser(b"B")
        with suppress(ValueError):
            for at in range(0, len(content), 1 << 16):  # as they arrive
                parser.write(content[at : at + (1 << 16)])

    grows_linearly(parse_form, n)


@pytest.mark.parametrize("trap", SEARCHES)
def test_searches(trap: str) -> None:
    parameters, n = SEARCHES[trap]
    entry = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "a" * 200}]}}

    def search(count: int) -> None:
        query = query_of(parameters(count))
        matcher(query.filters, (), fuzzy=query.fuzzy)(entry)

    grows_linearly(search, n)


def test_a_stored_value_against_a_pattern() -> None:
    def search(count: int) -> None:
        entry = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "a" * count}]}}
        matcher({"PatientName": "*" + "a" * count + "b"}, ())(entry)

    grows_linearly(search, 4_000)


@pytest.mark.parametrize("trap", DICOM)
def test_dicom_files(trap: str, tmp_path: Path) -> None:
    content, n = DICOM[trap]
    uid = b"1.2.840.10008.1.2.1\0"
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(uid)) + uid

    def file(count: int) -> bytes:
        return bytes(128) + b"DICM" + meta + content(count)

    grows_linearly(lambda count: JsonEncoder().instance(parse(file(count)), None, "1.2", ""), n)

    def on_disk(count: int) -> None:
        (tmp_path / "a.dcm").write_bytes(file(count))
        examine(tmp_path / "a.dcm", 1 << 30)

    grows_linearly(on_disk, n)


def test_search_results_of_an_archive() -> None:
    def entry(count: int) -> None:
        uid = {"vr": "UI", "Value": ["1." * count + "1"]}
        case_of_entry({"0020000D": uid, "0020000E": uid, "00201209": {"vr": "IS", "Value": ["1" * count]}})

    grows_linearly(entry, 100_000)


def test_addresses_in_answers_of_an_archive() -> None:
    addresses = Addresses("http://a/b", "http://c")
    grows_linearly(lambda count: addresses.in_text(b'"http://' * count), 50_000)
    grows_linearly(lambda count: addresses.in_text(b'"http://' + b"a" * count), 50_000)


@pytest.mark.parametrize("split", [len(NIFTI), 350])
def test_gzip_members(split: int, tmp_path: Path) -> None:
    """Empty members after the voxels, and between the header and the voxels."""

    def file(count: int) -> None:
        content = gzip.compress(NIFTI[:split]) + EMPTY_MEMBER * count + gzip.compress(NIFTI[split:])
        (tmp_path / "a.nii.gz").write_bytes(content)
        read_volume(tmp_path / "a.nii.gz")

    grows_linearly(file, 10_000)


def test_drawings_on_small_slices() -> None:
    def drawing(count: int) -> None:
        voxels = np.random.default_rng(1).integers(1, 255, count, np.uint8).tobytes()
        shape = (count, 1, 1)
        grid = Grid(shape, np.dtype(np.uint8), Geometry(shape, np.eye(4)), placed=False)
        read_drawing(io.BytesIO(gzip.compress(voxels)), grid)

    grows_linearly(drawing, 8_000)


def test_npy_headers() -> None:
    def header(count: int) -> None:
        text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"(" * count + b"), }"
        npy.read_header(b"\x93NUMPY\1\0" + struct.pack("<H", min(len(text), 65535)) + text)

    grows_linearly(header, 15_000)
