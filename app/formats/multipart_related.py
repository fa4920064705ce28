"""Reading a multipart/related body part by part, as it arrives.

DICOM PS3.18 section 8.6.1.2 and RFC 2046 section 5.1.1. A part with a Content-Length is read by its length, others up
to the next delimiter; each byte is scanned once, and only one part is in memory. (dicomweb-client's iterator scans a
large part again for every chunk: ImagingDataCommons/dicomweb-client#127.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message

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
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_maintype() != "multipart" or not boundary:
        return None
    return boundary.encode("latin-1")


def read_parts(read: Callable[[int], bytes], boundary: bytes, max_part: int = MAX_PART) -> Iterator[Part]:
    """The parts of a multipart body. `read(n)` returns up to n bytes of it, and none at the end.

    Raises `BrokenMultipart` if the body ends before the closing delimiter, if a part is longer than `max_part` bytes,
    or if a part isn't as long as its Content-Length.
    """
    stream = _Stream(read)
    delimiter = b"\r\n--" + boundary
    # A body may begin with the delimiter; with a CRLF before it, all delimiters are the same.
    stream.push_back(b"\r\n")
    stream.take_until(delimiter, MAX_HEADERS)
    while _another_part_follows(stream):
        headers = _parse_headers(stream.take_until(b"\r\n\r\n", MAX_HEADERS))
        length = headers.get("content-length", "").strip()
        if length.isdigit():
            if int(length) > max_part:
                raise BrokenMultipart(f"a part says it is {length} bytes long, which is more than is taken")
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
    stream.take_until(b"\r\n", 1024)
    # Part headers end with an empty line, which is the first one if there are none.
    stream.push_back(b"\r\n")
    return True


def _parse_headers(lines: bytes) -> dict[str, str]:
    headers = {}
    for line in lines.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers


class _Stream:
    """A buffered stream with push-back."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._buffer = b""
        self._at = 0

    def push_back(self, data: bytes) -> None:
        self._buffer, self._at = data + self._buffer[self._at :], 0

    def peek(self, count: int) -> bytes:
        while len(self._buffer) - self._at < count:
            self._buffer, self._at = self._buffer[self._at :] + self._more(SMALL_CHUNK), 0
        return self._buffer[self._at : self._at + count]

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes, joined once."""
        pieces = [self._buffer[self._at : self._at + count]]
        self._at += len(pieces[0])
        missing = count - len(pieces[0])
        while missing:
            piece = self._more(min(CHUNK, missing))
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def take_until(self, mark: bytes, limit: int) -> bytes:
        """The bytes before the next `mark`, which is consumed. A boundary must be followed by the end of its line."""
        chunk = SMALL_CHUNK if limit <= MAX_HEADERS else SCAN_CHUNK
        found = bytearray(self._buffer[self._at :])
        self._buffer, self._at = b"", 0
        looked = 0
        while True:
            at = found.find(mark, looked)
            if at >= 0:
                end = at + len(mark)
                if not mark.startswith(b"\r\n--") or self._ends_its_line(found, end):
                    self._buffer = bytes(memoryview(found)[end:])
                    return bytes(memoryview(found)[:at])
                looked = at + 1
                continue
            looked = max(0, len(found) - len(mark) + 1)
            if len(found) > limit:
                raise BrokenMultipart(f"no end of a part within {limit} bytes")
            found += self._more(chunk)

    def _ends_its_line(self, found: bytearray, end: int) -> bool:
        """Whether the line ends after a boundary that ends at `end`; otherwise it is data."""
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
