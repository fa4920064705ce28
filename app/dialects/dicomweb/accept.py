"""Content negotiation (PS3.18 8.7): media types with transfer syntaxes, in the client's order of preference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from fastapi import HTTPException, Request

EXPLICIT = "1.2.840.10008.1.2.1"
OCTETS, DICOM, JSON = "application/octet-stream", "application/dicom", "application/dicom+json"

IMAGE_TYPES = {
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
}
"""The media types of compressed frames (PS3.18 table 8.7.3-5)."""


@dataclass(frozen=True)
class Range:
    """One accepted media range: `kind` alone, or as parts of a multipart response. `syntax` is "" if none is named."""

    kind: str
    multipart: bool
    syntax: str

    def takes(self, kind: str) -> bool:
        main = self.kind.partition("/")[0]
        return self.kind in ("*/*", kind) or (self.kind.endswith("/*") and kind.startswith(f"{main}/"))


@dataclass(frozen=True)
class Form:
    """The chosen representation: the media type, multipart or single, as stored or uncompressed."""

    kind: str
    multipart: bool
    stored: bool


def accepted(request: Request) -> tuple[Range, ...]:
    """What the request accepts: its query parameter `accept`, else its Accept header; everything without either."""
    return parsed(request.query_params.get("accept") or request.headers.get("accept") or "*/*")


@lru_cache(maxsize=256)
def parsed(header: str) -> tuple[Range, ...]:
    """The media ranges of an Accept header, by preference; those with q=0 and malformed ones are left out."""
    found = [one for part in _split(header[:4096], ",") for one in _range(part)]
    return tuple(one for _, one in sorted(found, key=lambda pair: -pair[0]))


def form_of_instances(ranges: Sequence[Range], syntaxes: Sequence[str], *, single: bool) -> tuple[Form, ...]:
    """The representation of instances stored in `syntaxes`.

    Uncompressed unless the client requests otherwise; `*` means as stored. A response without multipart is for
    `single` instances. Raises 406.
    """
    usable = [one for one in ranges if one.takes(DICOM) and (one.multipart or single or one.kind == "*/*")]
    if not usable:
        raise not_acceptable("instances come as multipart/related; type=application/dicom, a single one also without")
    # */* alone gives multipart, which is the standard's default for any number of instances.
    multipart = usable[0].multipart or usable[0].kind == "*/*"
    ranked = [one for one in usable if one.multipart == usable[0].multipart]
    return tuple(Form(DICOM, multipart, _as_stored(ranked, syntax)) for syntax in syntaxes)


def form_of_frames(ranges: Sequence[Range], syntax: str, *, native: bool, single: bool) -> Form:
    """The representation of frames stored in `syntax`. Raises 406."""
    image = IMAGE_TYPES.get(syntax, OCTETS)
    for one in ranges:
        if not (one.multipart or single or one.kind == "*/*"):
            continue
        multipart = one.multipart or one.kind == "*/*"
        if one.takes(OCTETS):
            if not native and one.syntax in ("*", syntax):
                return Form(OCTETS, multipart, stored=True)
            if one.syntax in ("", EXPLICIT) or native:
                return Form(OCTETS, multipart, stored=False)
        elif not native and one.takes(image) and one.syntax in ("", "*", syntax):
            return Form(image, multipart, stored=True)
    raise not_acceptable(
        f"these frames come as multipart/related with parts of application/octet-stream"
        f"{'' if native else f' or {image}'}; transfer syntaxes {EXPLICIT} and * (as stored: {syntax})"
    )


def kind_of_picture(ranges: Sequence[Range]) -> str:
    """`image/jpeg` or `image/png`. Raises 406."""
    for one in ranges:
        for kind in ("image/jpeg", "image/png"):
            if one.takes(kind):
                return kind
    raise not_acceptable("pictures come as image/jpeg and image/png")


def check_json(ranges: Sequence[Range]) -> None:
    """Raise 406 if the client doesn't accept JSON."""
    if not any(one.takes(JSON) or one.takes("application/json") for one in ranges):
        raise not_acceptable("headers and search results come as application/dicom+json")


def not_acceptable(detail: str) -> HTTPException:
    return HTTPException(406, detail=detail)


def _as_stored(ranges: Sequence[Range], syntax: str) -> bool:
    if any(one.syntax in ("*", syntax) for one in ranges):
        return True
    if any(one.syntax in ("", EXPLICIT) for one in ranges):
        return syntax == EXPLICIT
    raise not_acceptable(f"stored as {syntax}; transfer syntaxes that are answered: {EXPLICIT}, * (as stored)")


def _range(part: str) -> Iterator[tuple[float, Range]]:
    kind, *parameters = (piece.strip() for piece in _split(part, ";"))
    given = {}
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        given[name.strip().lower()] = value.strip().strip('"')
    try:
        wanted = float(given.get("q", "1"))
    except ValueError:
        return
    if "/" not in kind or not wanted > 0:
        return
    multipart = kind.lower() == "multipart/related"
    # Orthanc's plugin writes the syntax into the quoted type.
    inner, _, hidden = given.get("type", "*/*").partition(";")
    syntax = given.get("transfer-syntax", "") or hidden.partition("=")[2]
    yield wanted, Range((inner if multipart else kind).strip().lower(), multipart, syntax.strip(' "'))


def _split(text: str, separator: str) -> list[str]:
    """Split at separators outside of quotes."""
    parts = [""]
    for number, piece in enumerate(text.split('"')):
        if number % 2:
            parts[-1] += f'"{piece}"'
            continue
        first, *others = piece.split(separator)
        parts[-1] += first
        parts += others
    return parts
