"""WADO-RS: a series or an instance in one streamed response, in its stored transfer syntax.

`transfer-syntax=*` asks for the bytes as stored; without it services transcode (DICOM PS3.18 section 8.7.3.5.2), which
takes ten to sixty times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import requests

from app.archives.dicomweb.connections import AnswerLimits
from app.archives.dicomweb.options import DicomwebOptions
from app.archives.dicomweb.session import ArchiveSession, StallGuard, answers_wanted, origin, refusal, unavailable
from app.errors import ArchiveUnavailable
from app.formats.multipart_related import BrokenMultipart, boundary_of, read_parts

ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
DEFAULT_SYNTAX = 'multipart/related; type="application/dicom"'
REFUSES_WILDCARD = (400, 406)


class ConnectionLost(Exception):
    """The connection was lost during the response; a retry may help."""


class NotThere(Exception):
    """The archive has no such series or instance."""


_OVERHEAD = 1 << 20
MAX_INSTANCE = 2 << 30
"""Bytes of one file. PixelData without compression can't be longer than 4 GiB (PS3.5 8)."""


def retrieve(
    session: ArchiveSession, url: str, options: DicomwebOptions, expected: int | None = None
) -> Generator[bytes, None, None]:
    """The Part 10 files of the series or instance at `url`, one at a time, as they arrive: together as long as the
    options allow for a series, or not much longer than the `expected` bytes.

    Raises `NotThere`, `ConnectionLost` and `ArchiveUnavailable`. Close the iterator to cancel.
    """
    max_bytes, seconds = options.max_bytes, options.fetch_seconds
    if expected is not None:
        max_bytes = min(max_bytes, 2 * expected + _OVERHEAD)
        seconds = min(seconds, options.answer_seconds + expected / options.slowest_rate)

    def limits(place: str) -> AnswerLimits:
        return AnswerLimits(place, patience=options.read_timeout, seconds=seconds, max_bytes=max_bytes)

    answer = _ask(session, url, limits)
    try:
        read = _reader(answer, url, options, limits(origin(url)))
        content_type = answer.headers.get("Content-Type", "")
        boundary = boundary_of(content_type)
        if boundary is not None:
            for part in read_parts(read, boundary, min(max_bytes, MAX_INSTANCE)):
                yield part.body
        elif content_type.partition(";")[0].strip().lower() == "application/dicom":
            yield b"".join(iter(lambda: read(1 << 20), b""))
        else:
            raise ArchiveUnavailable(
                f"the archive at {origin(url)} answers with {content_type[:80]!r} instead of DICOM"
            )
    except BrokenMultipart as error:
        raise ConnectionLost(str(error)) from error
    finally:
        answer.close()


def _ask(session: ArchiveSession, url: str, limits: Callable[[str], AnswerLimits]) -> requests.Response:
    for accept in (ANY_SYNTAX, DEFAULT_SYNTAX):
        with answers_wanted(url):
            answer = session.get_streamed(url, {"Accept": accept}, limits)
        if answer.status_code == 200:
            return answer
        answer.close()
        if answer.status_code in (204, 404, 410):
            raise NotThere
        # Services before about 2018 don't support the wildcard (OHIF/Viewers#2591).
        if answer.status_code not in REFUSES_WILDCARD:
            break
    raise refusal(url, answer.status_code)


def _reader(
    answer: requests.Response, url: str, options: DicomwebOptions, limits: AnswerLimits
) -> Callable[[int], bytes]:
    """A function that reads up to n bytes of the body; empty at the end."""
    import urllib3

    stall = StallGuard(url, options)

    def read(count: int) -> bytes:
        try:
            data: bytes = answer.raw.read1(count, decode_content=True)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise unavailable(url, TimeoutError()) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ConnectionLost(type(error).__name__) from error
        stall.saw(len(data))
        limits.received(len(data))  # decoded, it may be longer than what was received
        return data

    return read
