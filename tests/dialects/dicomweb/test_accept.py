"""Reading Accept headers, and what follows from them."""

from __future__ import annotations

import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st

from app.dialects.dicomweb.accept import EXPLICIT, form_of_frames, form_of_instances, kind_of_picture, parsed

RLE, LS = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"
OCTETS = "application/octet-stream"
DICOM = 'multipart/related; type="application/dicom"'


@pytest.mark.parametrize(
    ("header", "kind", "multipart", "syntax"),
    [
        ('multipart/related; type="application/dicom"; transfer-syntax=*', "application/dicom", True, "*"),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", "application/octet-stream", True, "*"),
        ('multipart/related;type="image/jls";transfer-syntax="1.2"', "image/jls", True, "1.2"),
        (
            'multipart/related; type="application/octet-stream; transfer-syntax=*"',
            "application/octet-stream",
            True,
            "*",
        ),
        ("multipart/related", "*/*", True, ""),
        ("Application/DICOM", "application/dicom", False, ""),
    ],
)
def test_one_range(header: str, kind: str, multipart: bool, syntax: str) -> None:
    (found,) = parsed(header)
    assert (found.kind, found.multipart, found.syntax) == (kind, multipart, syntax)


def test_order_is_by_preference() -> None:
    kinds = [
        one.kind for one in parsed('a/b;q=0.1, c/d;q=0, multipart/related; type="e/f,g";q=0.7, h/i, nonsense, j/k;q=x')
    ]
    assert kinds == ["h/i", "e/f,g", "a/b"]


@given(st.text(max_size=200))
def test_anything_may_come(header: str) -> None:
    parsed.__wrapped__(header)


@pytest.mark.parametrize(
    ("accept", "kind", "multipart", "stored"),
    [
        ("*/*", OCTETS, True, False),
        ('multipart/related; type="application/octet-stream"', OCTETS, True, False),
        (f'multipart/related; type="application/octet-stream"; transfer-syntax={RLE}', OCTETS, True, True),
        ('multipart/related; type="image/dicom-rle"', "image/dicom-rle", True, True),
        ('multipart/related; type="image/*"; transfer-syntax=*', "image/dicom-rle", True, True),
        ('multipart/related; type="image/jls", multipart/related; type="image/*"', "image/dicom-rle", True, True),
        ("image/dicom-rle", "image/dicom-rle", False, True),
        ("application/octet-stream", "application/octet-stream", False, False),
    ],
)  # fmt: skip
def test_forms_of_a_compressed_frame(accept: str, kind: str, multipart: bool, stored: bool) -> None:
    form = form_of_frames(parsed(accept), RLE, native=False, single=True)
    assert (form.kind, form.multipart, form.stored) == (kind, multipart, stored)


@pytest.mark.parametrize(
    "accept", ["image/dicom-rle", "application/octet-stream", "text/html", f"*/*;transfer-syntax={LS}"]
)
def test_frames_that_don_t_come_like_that(accept: str) -> None:
    with pytest.raises(HTTPException) as refused:
        form_of_frames(parsed(accept), RLE, native=False, single=False)
    assert refused.value.status_code == 406


def test_forms_of_instances() -> None:
    def stored(accept: str, *syntaxes: str) -> list[bool]:
        return [form.stored for form in form_of_instances(parsed(accept), syntaxes, single=False)]

    assert stored("*/*", EXPLICIT, RLE) == [True, False]
    assert stored('multipart/related; type="application/dicom"; transfer-syntax=*', EXPLICIT, RLE) == [True, True]
    assert stored(f"{DICOM}; transfer-syntax={RLE}, {DICOM}", EXPLICIT, RLE, LS) == [True, True, False]
    for accept in (f'multipart/related; type="application/dicom"; transfer-syntax={LS}', "application/dicom", "text/*"):
        with pytest.raises(HTTPException):
            stored(accept, RLE)


def test_kinds_of_pictures() -> None:
    assert kind_of_picture(parsed("image/png;q=0.5, image/webp")) == "image/png"
    assert kind_of_picture(parsed("image/*")) == "image/jpeg"
    with pytest.raises(HTTPException):
        kind_of_picture(parsed("image/gif"))
