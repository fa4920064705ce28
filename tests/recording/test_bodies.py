"""Bodies as plain values: what is unpacked, and that nothing is lost."""

from __future__ import annotations

import base64
import gzip
import io

import numpy as np

from tests.dicom.synthetic import ct_series, encode
from tests.recording.bodies import described

VOXELS = {"bytes": 3, "sha256": "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81"}
"""Of the bytes 1, 2, 3: `printf '\\1\\2\\3' | sha256sum`."""


def test_json_with_a_packed_mask() -> None:
    packed = base64.b64encode(gzip.compress(b"\1\2\3")).decode()
    content = f'{{"status": "success", "result": "{packed}"}}'.encode()
    assert described(content, "application/json") == {"status": "success", "result": {"base64": {"gzip": VOXELS}}}


def test_parts_keep_binary_bytes() -> None:
    content = b"--x\r\nContent-Type: application/octet-stream\r\n\r\n\1\2\3\r\n--x\r\n\r\n\n\r\n\r\n--x--\r\n"
    first, second, end = described(content, "multipart/related; boundary=x")["parts"]
    assert first == {"headers": {"content-type": "application/octet-stream"}, "body": VOXELS}
    assert second["body"]["bytes"] == 3
    assert end == {"closed": True}


def test_a_multipart_body_that_breaks_off_is_seen() -> None:
    assert described(b"--x\r\n\r\n\1\2\3", "multipart/related; boundary=x")["parts"][-1] == {"closed": False}


def test_dicom_element_by_element() -> None:
    instance = ct_series((2, 4, 4))[0][0]
    told = described(encode(instance))
    assert told["dicom"]["00100020"] == {"vr": "LO", "Value": ["PHANTOM-00000"]}
    assert told["meta"]["00020010"]["Value"] == ["1.2.840.10008.1.2.1"]
    before = dict(told["dicom"])
    instance.PixelData = bytes([instance.PixelData[0] ^ 1]) + instance.PixelData[1:]
    after = described(encode(instance))["dicom"]
    assert [tag for tag in before if before[tag] != after[tag]] == ["7FE00010"]


def test_nrrd_header_and_voxels() -> None:
    content = b"NRRD0005\ntype: uchar\n\n" + gzip.compress(b"\1\2\3")
    assert described(content) == {"nrrd": ["NRRD0005", "type: uchar"], "voxels": {"gzip": VOXELS}}


def test_a_page_is_elements_and_texts() -> None:
    page = described(b"<p class='a'>Hello <b>you</b></p>", "text/html; charset=utf-8")
    assert page == [{"element": "p", "class": "a"}, {"text": "Hello"}, {"element": "b"}, {"text": "you"}]


def test_events() -> None:
    content = b'retry: 3000\n\nevent: progress\nid: 4\ndata: {"total": 1}\n\n'
    told = described(content, "text/event-stream; charset=utf-8")
    assert told == [{"retry": "3000"}, {"event": "progress", "id": "4", "data": {"total": 1}}]


def test_what_nobody_knows_is_a_digest() -> None:
    stream = io.BytesIO()
    np.save(stream, np.arange(3))
    assert described(stream.getvalue())["bytes"] == len(stream.getvalue())
    assert described(b"\1\2\3") == VOXELS
    assert described(b"") is None
