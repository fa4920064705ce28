"""Untrusted bytes -> a pydicom Dataset, with checks that pydicom lacks."""

from __future__ import annotations

import io
import struct

import pydicom
from pydicom import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from app.errors import BadFile

PARSER_ERRORS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,  # RecursionError (sequences nested too deeply) is one
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom and its decoders raise on hostile or damaged bytes."""

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

DEFLATED = frozenset({str(DeflatedExplicitVRLittleEndian), "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
"""Transfer syntaxes with deflated data sets; the second and third are JPIP Referenced Deflate."""

MAX_CHARACTER_SETS = 16
"""Values of SpecificCharacterSet. pydicom tries all of them for each piece of text; PS3.3 C.12.1.1.2 defines 14."""

_META_START = 132
_META_END = _META_START + (1 << 20)
_LONG_VRS = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}


def parse(data: bytes) -> Dataset:
    """Read one Part 10 file (DICOM PS3.10 7).

    Deflated transfer syntaxes are refused first, because pydicom inflates without a limit, even when it stops before
    the pixel data (a megabyte becomes a gigabyte). Raises `BadFile`.
    """
    if len(data) < _META_START or data[128:_META_START] != b"DICM":
        raise BadFile("not a DICOM file: it doesn't begin with 128 bytes and DICM")
    try:
        syntaxes = transfer_syntaxes(data)
        if syntaxes & DEFLATED:
            raise BadFile("the file uses a deflated transfer syntax; send it uncompressed or with compressed frames")
        dataset = pydicom.dcmread(io.BytesIO(data))
        check_character_sets(dataset)
        return dataset
    except PARSER_ERRORS as error:
        raise BadFile(f"not a readable DICOM file ({_reason(error)})") from error


def check_character_sets(dataset: Dataset) -> None:
    """Raise `BadFile` if a data set or an item names more than `MAX_CHARACTER_SETS`."""
    named = dataset.original_character_set
    if not isinstance(named, str) and len(named) > MAX_CHARACTER_SETS:
        raise BadFile(f"the file names {len(named)} character sets")


def transfer_syntaxes(data: bytes) -> set[str]:
    """Every value of TransferSyntaxUID in the file meta information."""
    return meta_values(data, 0x0010)


def meta_values(data: bytes, wanted: int) -> set[str]:
    """Every value of element (0002,`wanted`) at the beginning of a file (explicit little endian, PS3.10 7.1).

    Raises `BadFile` for more than a megabyte of file meta information.
    """
    found = set()
    at = _META_START
    while at + 8 <= len(data):
        group, element, vr = struct.unpack_from("<HH2s", data, at)
        if group != 0x0002:
            break
        if at > _META_END:
            raise BadFile("the file's meta information is longer than a megabyte")
        if vr in _LONG_VRS and at + 12 <= len(data):
            (length,) = struct.unpack_from("<L", data, at + 8)
            at += 12
        else:
            (length,) = struct.unpack_from("<H", data, at + 6)
            at += 8
        if element == wanted:
            found.add(data[at : at + min(length, 64)].rstrip(b"\0 ").decode("ascii"))
        at += length
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "its sequences are nested too deeply"
    if isinstance(error, MemoryError):
        return "it declares more than memory holds"
    # Only the type of error: the parser's messages may quote the file, such as a patient's name.
    return type(error).__name__
