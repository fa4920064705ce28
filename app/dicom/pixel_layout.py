"""The location of each frame's pixels in a file, so that a frame can be read without parsing the file again."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from pydicom import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

from app.dicom.parsing import DEFLATED, PARSER_ERRORS, transfer_syntaxes
from app.dicom.values import integer, text
from app.errors import BadFile, BadInput, UnusableSeries

Piece = tuple[int, int]
"""Offset in the file and number of bytes."""

_ROWS, _COLUMNS, _SAMPLES = Tag("Rows"), Tag("Columns"), Tag("SamplesPerPixel")
_PHOTOMETRIC, _PLANAR, _FRAMES = Tag("PhotometricInterpretation"), Tag("PlanarConfiguration"), Tag("NumberOfFrames")
_ALLOCATED, _STORED, _REPRESENTATION = Tag("BitsAllocated"), Tag("BitsStored"), Tag("PixelRepresentation")
_OFFSETS = Tag("ExtendedOffsetTable")
_PIXELS = (Tag("FloatPixelData"), Tag("DoubleFloatPixelData"), Tag("PixelData"))
_NEEDED: list[BaseTag | int] = [
    _ROWS,
    _COLUMNS,
    _SAMPLES,
    _PLANAR,
    _PHOTOMETRIC,
    _FRAMES,
    _ALLOCATED,
    _STORED,
    _REPRESENTATION,
    _OFFSETS,
]
_HEAD = 1 << 14
"""Longer than any file meta information."""
_UNDEFINED = 0xFFFFFFFF
_ITEM, _END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_END_OF_IMAGE = b"\xff\xd9"


@dataclass(frozen=True)
class PixelLayout:
    """The pixel data element of one instance (DICOM PS3.5 8, A.4).

    `start` and `length` are those of its value. `fragments` are the pieces of each compressed frame, None for native
    pixels. `tag` and `vr` are those of the element.
    """

    syntax: str
    tag: int
    vr: str
    rows: int
    columns: int
    samples: int
    planar: int
    photometric: str
    allocated: int
    stored: int
    signed: bool
    frames: int
    start: int
    length: int
    fragments: tuple[tuple[Piece, ...], ...] | None

    @property
    def frame_bits(self) -> int:
        """The size of an uncompressed frame in bits. YBR_FULL_422 has two samples per pixel (PS3.3 C.7.6.3.1.2)."""
        samples = 2 if self.photometric == "YBR_FULL_422" and self.fragments is None else self.samples
        return self.rows * self.columns * samples * self.allocated

    def check_frames(self, numbers: Sequence[int]) -> None:
        """Raises `BadInput` if one of these frames (from 1) doesn't exist."""
        missing = [number for number in numbers if not 1 <= number <= self.frames]
        if missing:
            raise BadInput(f"there is no frame {missing[0]}; the instance has {self.frames}")

    def place(self, number: int) -> Piece | None:
        """The location of a frame (from 1) in the file; None if it isn't one sequence of whole bytes."""
        if self.fragments is not None:
            pieces = self.fragments[number - 1]
            return pieces[0] if len(pieces) == 1 else None
        if self.frame_bits % 8:
            return None
        size = self.frame_bits // 8
        return self.start + (number - 1) * size, size

    def stored_frame(self, descriptor: int, number: int) -> bytes:
        """The bytes of a frame (from 1) as stored, fragments joined. Raises `BadFile` for a truncated file.

        1-bit frames that begin within a byte are shifted to begin at a byte.
        """
        place = self.place(number)
        if place is not None:
            return _exactly(descriptor, *place)
        if self.fragments is not None:
            return b"".join(_exactly(descriptor, *piece) for piece in self.fragments[number - 1])
        bits = self.frame_bits
        first = (number - 1) * bits
        data = _exactly(descriptor, self.start + first // 8, -(-(first + bits) // 8) - first // 8)
        return _aligned(data, first % 8, bits)


def read_layout(file: BinaryIO) -> PixelLayout:
    """Locate the pixel data in a Part 10 file.

    Raises `BadFile` if the file can't be read, `UnusableSeries` for an instance without pixel data.
    """
    _, layout = _read(file, _NEEDED)
    if layout is None:
        raise UnusableSeries("the instance has no pixels")
    return layout


def read_fields(file: BinaryIO, fields: Sequence[str]) -> tuple[Dataset, PixelLayout | None]:
    """The elements of a header that are named in `fields`, and where the pixel data is. Raises `BadFile`, also if the
    file ends before its pixel data does."""
    wanted = [Tag(field) for field in fields]
    header, layout = _read(file, [*wanted, *_NEEDED])
    for tag in [tag for tag in tuple(header.keys()) if tag not in wanted]:
        del header[tag]
    if layout is not None and layout.fragments is None:
        end, size = layout.start + layout.length, os.fstat(file.fileno()).st_size
        if end > size:
            raise BadFile(f"the file ends {end - size} bytes before its pixels do")
    return header, layout


def read_header(file: BinaryIO) -> tuple[Dataset, PixelLayout | None]:
    """The header before the pixel data, and their location. Raises `BadFile`."""
    return _read(file, None)


def _read(file: BinaryIO, tags: list[BaseTag | int] | None) -> tuple[Dataset, PixelLayout | None]:
    try:
        # pydicom would first inflate the whole file, without a limit.
        if transfer_syntaxes(file.read(_HEAD)) & DEFLATED:
            raise BadFile("the file uses a deflated transfer syntax")
        file.seek(0)
        header = read_partial(file, lambda tag, _vr, _length: tag in _PIXELS, specific_tags=tags)
        syntax = str(header.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
        return header, _layout(header, syntax, file.fileno(), file.tell())
    except PARSER_ERRORS as error:
        raise BadFile(f"an instance's pixels can't be found ({type(error).__name__})") from error


def _layout(header: Dataset, syntax: str, descriptor: int, at: int) -> PixelLayout | None:
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    head = os.pread(descriptor, 12, at)
    if len(head) < 8:
        return None
    group, element = struct.unpack_from(f"{order}HH", head)
    if Tag(group, element) not in _PIXELS:
        raise BadFile("an instance ends in the middle of an element")
    if syntax == ImplicitVRLittleEndian:
        vr, length, start = "OW", struct.unpack_from("<L", head, 4)[0], at + 8
    else:
        vr, length, start = head[4:6].decode("ascii"), struct.unpack_from(f"{order}L", head, 8)[0], at + 12
    frames = int(text(header, _FRAMES) or 1)
    rows, columns = integer(header, _ROWS), integer(header, _COLUMNS)
    samples, allocated = integer(header, _SAMPLES, 1), integer(header, _ALLOCATED)
    if min(frames, rows, columns, samples, allocated) < 1:
        raise BadFile(f"an image declares {frames} x {rows} x {columns} pixels")
    compressed = UID(syntax).is_compressed
    if compressed != (length == _UNDEFINED):
        raise BadFile("an image's pixels are not stored as its transfer syntax says")
    layout = PixelLayout(
        syntax=syntax,
        tag=group << 16 | element,
        vr=vr,
        rows=rows,
        columns=columns,
        samples=samples,
        planar=integer(header, _PLANAR, 0),
        photometric=text(header, _PHOTOMETRIC) or "",
        allocated=allocated,
        stored=integer(header, _STORED, allocated),
        signed=integer(header, _REPRESENTATION, 0) == 1,
        frames=frames,
        start=start,
        length=length,
        fragments=_frames(header, descriptor, start, frames) if compressed else None,
    )
    if not compressed and -(-layout.frame_bits * frames // 8) > length:
        raise BadFile(f"an image declares {frames} frames and has {length} bytes of pixels")
    return layout


def _frames(header: Dataset, descriptor: int, start: int, count: int) -> tuple[tuple[Piece, ...], ...]:
    """The fragments of each frame (PS3.5 A.4): by an offset table, else one per frame, else by end markers."""
    table, *fragments = _items(descriptor, start)
    offsets = _extended_offsets(header) or _basic_offsets(_exactly(descriptor, *table))
    if not fragments or len(fragments) < count:
        raise BadFile(f"an image declares {count} frames and has {len(fragments)} fragments")
    if len(fragments) == count:
        return tuple((fragment,) for fragment in fragments)
    if count == 1:
        return (tuple(fragments),)
    if len(offsets) == count:
        # Offsets count from the first fragment's item, whose tag and length come before its value.
        base = fragments[0][0] - 8
        starts = {base + offset: number for number, offset in enumerate(offsets)}
        grouped = _grouped(fragments, [starts.get(at - 8, 0) > 0 for at, _ in fragments])
    else:
        ends = [_END_OF_IMAGE in _exactly(descriptor, at + max(0, size - 10), min(size, 10)) for at, size in fragments]
        grouped = _grouped(fragments, [False, *ends[:-1]])
    if len(grouped) != count:
        raise BadFile(f"an image declares {count} frames and has {len(grouped)}")
    return grouped


def _grouped(fragments: Sequence[Piece], begins: Sequence[bool]) -> tuple[tuple[Piece, ...], ...]:
    frames: list[list[Piece]] = [[]]
    for fragment, new in zip(fragments, begins, strict=True):
        if new:
            frames.append([])
        frames[-1].append(fragment)
    return tuple(tuple(frame) for frame in frames)


def _items(descriptor: int, at: int) -> list[Piece]:
    """The items of an encapsulated value: the offset table, then the fragments."""
    found: list[Piece] = []
    while True:
        group, element, length = struct.unpack("<HHL", _exactly(descriptor, at, 8))
        if (group, element) == _END:
            break
        if (group, element) != _ITEM or length == _UNDEFINED:
            raise BadFile("an image's compressed pixels are damaged")
        found.append((at + 8, length))
        at += 8 + length
    if not found:
        raise BadFile("an image's compressed pixels have no offset table")
    return found


def _extended_offsets(header: Dataset) -> tuple[int, ...]:
    table = header.get("ExtendedOffsetTable")
    return struct.unpack(f"<{len(table) // 8}Q", table) if isinstance(table, bytes) else ()


def _basic_offsets(table: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(table) // 4}L", table[: len(table) // 4 * 4])


def _exactly(descriptor: int, at: int, count: int) -> bytes:
    data = os.pread(descriptor, count, at)
    if len(data) != count:
        raise BadFile("an image's file ends in the middle of its pixels")
    return data


def _aligned(data: bytes, skip: int, count: int) -> bytes:
    """`count` bits after the first `skip`, least significant first, shifted to begin at a byte."""
    import numpy as np

    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[skip : skip + count]
    return np.packbits(bits, bitorder="little").tobytes()
