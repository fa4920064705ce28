"""The archive's addresses become ours, however its answer is cut."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.dicomweb.proxy import Addresses, has_addresses

THEIRS, OURS = "http://pacs:8042/dicom-web", "https://here/t/token/dicom-web"
ANSWER = {
    "00081190": {"vr": "UR", "Value": [f"{THEIRS}/studies/1.2/series/3.4"]},
    "7FE00010": {"vr": "OW", "BulkDataURI": "https://other.name/dicom-web/studies/1/bulk/7fe00010"},
    "00081030": {"vr": "LO", "Value": [f"see {THEIRS}/studies/1", 'a "quote"', "http://pacs:8042/dicom-websites/1"]},
    "00420011": {"vr": "OB", "InlineBinary": "QUJD" * 400},
}
EXPECTED = json.loads(json.dumps(ANSWER))
EXPECTED["00081190"]["Value"] = [f"{OURS}/studies/1.2/series/3.4"]
EXPECTED["7FE00010"]["BulkDataURI"] = f"{OURS}/studies/1/bulk/7fe00010"


async def _rewritten(chunks: list[bytes]) -> bytes:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return b"".join([piece async for piece in Addresses(THEIRS, OURS).in_stream(stream())])


@given(st.lists(st.integers(0, 2400), max_size=12), st.booleans())
def test_wherever_it_is_cut(cuts: list[int], escaped: bool) -> None:
    text = json.dumps(ANSWER, indent=1)
    content = (text.replace("/", "\\/") if escaped else text).encode()
    ends = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    chunks = [content[start:end] for start, end in itertools.pairwise(ends)]
    assert json.loads(asyncio.run(_rewritten(chunks))) == EXPECTED


def test_a_root_without_a_path() -> None:
    text = b'"http://pacs:8042/studies/1", "http://pacs:8042/system"'
    assert (
        Addresses("http://pacs:8042", OURS).in_text(text) == f'"{OURS}/studies/1", "http://pacs:8042/system"'.encode()
    )


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        ("application/dicom+json", True),
        ("application/json; charset=utf-8", True),
        ('multipart/related; type="application/dicom+xml"; boundary=a', True),
        ('multipart/related; type="application/dicom"; boundary=a', False),
        ("image/jpeg", False),
    ],
)
def test_kinds_of_answers(kind: str, has: bool) -> None:
    assert has_addresses(kind) is has
