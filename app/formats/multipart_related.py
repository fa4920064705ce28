"""Reading a multipart/related body part by part, as it arrives.

DICOM PS3.18 section 8.6.1.2 and RFC 2046 section 5.1.1. A part with a Content-Length is read by its length, others up
to the next delimiter; each byte is scanned once, and only one part is in memory. (dicomweb-client's iterator scans a
large part again for every chunk: ImagingDataCommons/dicomweb-client#127.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header

CHUNK = 1 << 20
SMALL_CHUNK = 1 << 14
"""Read-ahead where headers are expected: excess bytes are copied once more."""
SCAN_CHUNK = 1 << 18
MAX_HEADERS = 64 * 1024
MAX_PART = 8 << 30
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*(\r\n|\Z)")


class BrokenMultipart(Exception):
    """The body is truncated or malformed."""


@dataclass(frozen=True)
class Part:
    """One part. Header names are in lower case."""

    headers: Mapping[str, str]
    body: bytes


def boundary_of(content_type: str) -> bytes | None:
    """The boundary in a multipart Content-Type, quoted or not; None without one."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    return boundary if kind.startswith(b"multipart/") and boundary else None


def read_parts(read: Callable[[int], bytes], boundary: bytes, max_part: int = MAX_PART) -> Iterator[Part]:
    """The parts of a multipart body. `read(n)` returns up to n bytes of it, and none at the end.

    Raises `BrokenMultipart` if the body ends before the closing delimiter, if a part is longer than `max_part` bytes,
    or if a part isn't as long as its Content-Length.
    """
    # A body may begin with the delimiter; with a CRLF before it, all delimiters are the same.
    stream = _Stream(read, b"\r\n")
    delimiter = b"\r\n--" + boundary
    stream.take_until(delimiter, MAX_HEADERS)
    while _another_part_follows(stream):
        headers = _parse_headers(stream.take_until(b"\r\n\r\n", MAX_HEADERS))
        length = headers.get("content-length", "").strip()
        if length.isascii() and length.isdigit():
            if len(length) > 18 or int(length) > max_part:
                raise BrokenMultipart(f"a part says it is {length[:24]} bytes long, which is more than is taken")
            body = stream.take(int(length))
            if stream.take(len(delimiter)) != delimiter:
                raise BrokenMultipart(f"a part says it is {length} bytes long and is not")
        else:
            body = stream.take_until(delimiter, max_part)
        yield Part(headers, body)


def _another_part_follows(stream: _Stream) -> bool:
    """Read the rest of a delimiter's line; False after the closing delimiter."""
    if stream.peek(2) == b"--":
        return False
    # The CRLF stays: part headers end with an empty line, which is the first one if there are none.
    stream.take_until(b"\r\n", 1024, keep=2)
    return True


def _parse_headers(lines: bytes) -> dict[str, str]:
    headers = {}
    for line in lines.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers


class _Stream:
    """A buffered stream. What is taken is removed at the buffer's start, which moves no other bytes."""

    def __init__(self, read: Callable[[int], bytes], first: bytes) -> None:
        self._read = read
        self._buffer = bytearray(first)

    def peek(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._buffer += self._more(SMALL_CHUNK)
        return bytes(self._buffer[:count])

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes, joined once."""
        pieces = [self._taken(count)]
        missing = count - len(pieces[0])
        while missing:
            piece = self._more(min(CHUNK, missing))
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def take_until(self, mark: bytes, limit: int, keep: int = 0) -> bytes:
        """The bytes before the next `mark`, which is consumed but for its last `keep` bytes. A boundary must be
        followed by the end of its line."""
        chunk = SMALL_CHUNK if limit <= MAX_HEADERS else SCAN_CHUNK
        looked = 0
        while True:
            at = self._buffer.find(mark, looked)
            if at >= 0:
                if not mark.startswith(b"\r\n--") or self._ends_its_line(at + len(mark)):
                    found = self._taken(at)
                    del self._buffer[: len(mark) - keep]
                    return found
                looked = at + 1
                continue
            looked = max(0, len(self._buffer) - len(mark) + 1)
            if len(self._buffer) > limit:
                raise BrokenMultipart(f"no end of a part within {limit} bytes")
            self._buffer += self._more(chunk)

    def _taken(self, count: int) -> bytes:
        with memoryview(self._buffer) as view:
            taken = bytes(view[:count])
        del self._buffer[:count]
        return taken

    def _ends_its_line(self, end: int) -> bool:
        """Whether the line ends after a boundary that ends at `end`; otherwise it is data."""
        found = self._buffer
        while len(found) - end < 4 and b"\n" not in found[end:]:
            try:
                found += self._more(SMALL_CHUNK)
            except BrokenMultipart:
                break
        rest = bytes(found[end : end + 256])
        if rest.startswith(b"--"):
            return True
        return _AFTER_BOUNDARY.match(rest) is not None or not rest.strip(b" \t")

    def _more(self, count: int) -> bytes:
        data = self._read(count)
        if not data:
            raise BrokenMultipart("the answer ended in the middle")
        return data
