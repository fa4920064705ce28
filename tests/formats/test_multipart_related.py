"""The multipart reader against bodies of every legal shape, cut at every place."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.formats import multipart_related as reader
from app.formats.multipart_related import BrokenMultipart, boundary_of, read_parts
from tests.archives.fake_dicomweb import multipart
from tests.counting import calls

FILES = [b"first", b"", b"\r\n--a-\r\n", b"x" * 70_000, b"\r\n--a-bc\r\nnot the boundary\r\n", b"--a-b inside"]


def parts_of(body: bytes, boundary: bytes = b"a-b", step: int = 1 << 20, **options: int) -> list[bytes]:
    stream = io.BytesIO(body)
    return [part.body for part in read_parts(lambda n: stream.read(min(n, step)), boundary, **options)]


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 100, 1 << 20])
def test_reads_parts_however_they_arrive(lengths: bool, step: int) -> None:
    files = FILES if step > 3 else [file[:300] for file in FILES]
    assert parts_of(multipart(files, lengths=lengths).body, step=step) == files


@pytest.mark.parametrize("lengths", [True, False])
def test_takes_a_preamble_and_blanks_after_the_boundary(lengths: bool) -> None:
    body = multipart(FILES, lengths=lengths, preamble=b"This is for old mail readers.", line_end=b" \t ").body
    assert parts_of(body + b"an epilogue") == FILES


def test_takes_a_body_that_starts_with_an_empty_line_and_parts_without_headers() -> None:
    assert parts_of(b"\r\n--a-b\r\n\r\nbody\r\n--a-b--") == [b"body"]
    assert parts_of(b"--a-b--") == []


def test_hands_out_headers_in_lower_case() -> None:
    body = b"--b\r\ncontent-TYPE: application/dicom; transfer-syntax=1.2\r\nX:  y \r\n\r\nz\r\n--b--\r\n"
    (part,) = read_parts(io.BytesIO(body).read, b"b")
    assert part.headers == {"content-type": "application/dicom; transfer-syntax=1.2", "x": "y"}


@pytest.mark.parametrize("lengths", [True, False])
def test_a_cut_anywhere_is_noticed(lengths: bool) -> None:
    body = multipart([b"first", b"--a-b", b"third"], lengths=lengths).body
    end = body.rindex(b"--\r\n") + 2
    for cut in range(end):
        with pytest.raises(BrokenMultipart):
            parts_of(body[:cut])
    assert len(parts_of(body[:end])) == 3


@pytest.mark.parametrize("length", [b"4", b"6", b"1" + b"0" * 12, b"9" * 5000])
def test_a_length_that_lies_is_noticed(length: bytes) -> None:
    body = b"--b\r\nContent-Length: %s\r\n\r\nabcde\r\n--b--\r\n" % length
    with pytest.raises(BrokenMultipart):
        parts_of(body, b"b")


def test_digits_that_are_no_numbers_give_no_length() -> None:
    assert parts_of("--b\r\nContent-Length: \xb2\r\n\r\nabc\r\n--b--".encode("latin-1"), b"b") == [b"abc"]


def test_parts_have_a_limit() -> None:
    for lengths in (True, False):
        with pytest.raises(BrokenMultipart):
            parts_of(multipart([b"x" * 1_000_000], lengths=lengths).body, max_part=1000)
    with pytest.raises(BrokenMultipart):
        parts_of(b"--a-b\r\nX: " + b"y" * 200_000)


@pytest.mark.parametrize("lengths", [True, False])
def test_one_large_part_is_looked_at_once(lengths: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight times the bytes are read in eight times the pieces, and each piece takes as many calls. Where a search
    begins is all that could make it more: never before what was looked at."""
    searched: list[tuple[int, int]] = []

    class Watched(bytearray):
        def find(self, mark: bytes, start: int = 0) -> int:  # type: ignore[override]
            searched.append((start, len(self)))
            return super().find(mark, start)

        def __iadd__(self, more: bytes) -> Watched:  # type: ignore[override,misc]
            super().extend(more)
            return self

    monkeypatch.setattr(reader, "bytearray", Watched, raising=False)

    def work(size: int) -> tuple[int, int]:
        body = multipart([b"\r\n--a-" * (size // 6)], lengths=lengths).body
        searched.clear()
        count = calls(lambda: parts_of(body, step=1 << 16))
        return count, sum(end - start for start, end in searched) - size

    (small, _), (large, again) = work(2 << 20), work(16 << 20)
    assert large < 10 * small
    # Beyond the part itself: headers, and the few bytes at the end of each piece in which a delimiter may begin.
    assert again < 100_000


@given(files=st.lists(st.binary(max_size=60)), lengths=st.booleans(), step=st.integers(1, 50))
def test_any_files_come_back(files: list[bytes], lengths: bool, step: int) -> None:
    boundary = "0123456789abcdefQQ"
    if any(boundary.encode() in file for file in files):
        return
    assert parts_of(multipart(files, boundary, lengths=lengths).body, boundary.encode(), step) == files


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary="a b:c"', b"a b:c"),
        ("multipart/related; boundary=abc; type=application/dicom", b"abc"),
        ("Multipart/Related;Boundary=abc", b"abc"),
        ("multipart/related; type=application/dicom; transfer-syntax=*; boundary=abc", b"abc"),
        ("multipart/related", None),
        ("application/dicom; boundary=abc", None),
        ("", None),
    ],
)
def test_finds_the_boundary(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary
