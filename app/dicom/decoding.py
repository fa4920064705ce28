"""Pixel data of an instance -> stored values, checked against the header before anything is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import Tag
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from app.dicom import jpeg
from app.dicom.parsing import PARSER_ERRORS
from app.dicom.values import integer, text
from app.errors import BadFile, UnusableSeries
from app.formats.volume_header import DEFAULT_MAX_BYTES

_PIXEL_DATA = Tag("PixelData")
_SAMPLES, _PHOTOMETRIC = Tag("SamplesPerPixel"), Tag("PhotometricInterpretation")
_FRAMES, _ROWS, _COLUMNS = Tag("NumberOfFrames"), Tag("Rows"), Tag("Columns")
_ALLOCATED, _STORED, _HIGH = Tag("BitsAllocated"), Tag("BitsStored"), Tag("HighBit")
_REPRESENTATION = Tag("PixelRepresentation")

_NATIVE = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian}

# In this order, measured on 512x512 frames: pylibjpeg decodes RLE three times faster than pydicom.
_PLUGINS = {
    RLELossless: ("pylibjpeg", "pydicom"),
    **dict.fromkeys(jpeg.SYNTAXES, (jpeg.PLUGIN,)),
    JPEGLSLossless: ("pyjpegls",),
    JPEGLSNearLossless: ("pyjpegls",),
    JPEG2000Lossless: ("pylibjpeg",),
    JPEG2000: ("pylibjpeg",),
    HTJ2KLossless: ("pylibjpeg",),
    HTJ2KLosslessRPCL: ("pylibjpeg",),
}

jpeg.register()


@dataclass(frozen=True, eq=False)
class Pixels:
    """The stored values of an instance, `(frames, rows, columns)`, all within `limits` (minimum, maximum)."""

    stored: NDArray[np.integer]
    limits: tuple[int, int]


@dataclass(frozen=True)
class _Format:
    """The pixel format in the header (DICOM PS3.3 C.7.6.3)."""

    shape: tuple[int, int, int]
    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def dtype(self) -> np.dtype[np.integer]:
        return np.dtype(f"{'i' if self.signed else 'u'}{self.allocated // 8}")

    @property
    def nbytes(self) -> int:
        frames, rows, columns = self.shape
        return frames * rows * columns * self.allocated // 8

    @property
    def limits(self) -> tuple[int, int]:
        if self.signed:
            return -(1 << (self.stored - 1)), (1 << (self.stored - 1)) - 1
        return 0, (1 << self.stored) - 1


def decode(dataset: Dataset, max_bytes: int = DEFAULT_MAX_BYTES) -> Pixels:
    """The stored values of an instance, before rescale.

    8, 16 or 32 bits, signed or not; bits above BitsStored are masked or sign-extended. Uncompressed little endian
    pixels are a view of the dataset's bytes where possible. Raises `BadFile` if header and pixel data don't match or
    exceed `max_bytes`, `UnusableSeries` for colour images and for syntaxes that can't be decoded.
    """
    try:
        form, syntax = _checked(dataset, max_bytes)
        if syntax in _NATIVE:
            return _significant(_native(dataset, syntax, form), form)
        values = np.empty(form.shape, form.dtype)
        for number, frame in enumerate(_compressed(dataset, syntax, form)):
            values[number] = frame
        return _significant(values, form)
    except PARSER_ERRORS as error:
        raise BadFile(f"an image's pixels can't be decoded ({type(error).__name__})") from error


def decode_labels(dataset: Dataset, max_bytes: int = DEFAULT_MAX_BYTES) -> Iterator[NDArray[np.integer]]:
    """`decode` for labelmaps, frame by frame `(rows, columns)`: all bits are used, and PALETTE COLOR is accepted, with
    the indices as values."""
    try:
        form, syntax = _checked(dataset, max_bytes, palette=True)
        if form.signed or form.stored != form.allocated:
            raise BadFile(f"a labelmap declares {form.stored} of {form.allocated} bits, signed: {form.signed}")
        yield from _native(dataset, syntax, form) if syntax in _NATIVE else _compressed(dataset, syntax, form)
    except PARSER_ERRORS as error:
        raise BadFile(f"an image's pixels can't be decoded ({type(error).__name__})") from error


def decoding_plugin(syntax: UID) -> str:
    """The fastest installed decoder of a compressed transfer syntax. Raises `UnusableSeries` if there is none."""
    available = get_decoder(syntax).available_plugins if syntax in _PLUGINS else ()
    plugin = next((p for p in _PLUGINS.get(syntax, ()) if p in available), "")
    if not plugin:
        raise UnusableSeries(f"no decoder for the transfer syntax {syntax.name} is installed")
    return plugin


def _checked(dataset: Dataset, max_bytes: int, *, palette: bool = False) -> tuple[_Format, UID]:
    """The format in the header, and the transfer syntax, checked for plausibility before memory is allocated."""
    form = _declared(dataset, palette)
    if form.nbytes > max_bytes:
        raise BadFile(f"an image declares {_size(form.shape)} pixels, more than this server takes")
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if syntax not in _NATIVE and syntax not in _PLUGINS:
        raise UnusableSeries(f"the images use the transfer syntax {syntax.name}, which can't be decoded here")
    if syntax == RLELossless:
        # RLE expands two bytes to 128 at most (DICOM PS3.5 annex G).
        if form.nbytes > 64 * len(dataset.PixelData):
            raise BadFile(f"an image declares {_size(form.shape)} pixels, which its RLE frames can't hold")
    elif syntax not in _NATIVE:
        # Decoders trust the size in the codestream.
        for frame in generate_frames(dataset.PixelData, number_of_frames=form.shape[0]):
            check_size(frame, rows=form.shape[1], columns=form.shape[2])
    return form, syntax


def _declared(dataset: Dataset, palette: bool) -> _Format:
    if _PIXEL_DATA not in dataset:
        raise UnusableSeries("an instance has no pixel data, so it can't be part of a volume")
    coloured = text(dataset, _PHOTOMETRIC) == "PALETTE COLOR" and not palette
    if integer(dataset, _SAMPLES, 1) != 1 or coloured:
        raise UnusableSeries("the images are in colour; only grey images make a volume")
    shape = int(text(dataset, _FRAMES) or 1), integer(dataset, _ROWS), integer(dataset, _COLUMNS)
    if min(shape) < 1:
        raise BadFile(f"an image declares {_size(shape)} pixels")
    allocated, stored = integer(dataset, _ALLOCATED), integer(dataset, _STORED)
    high = integer(dataset, _HIGH, stored - 1)
    if allocated not in (8, 16, 32):
        raise UnusableSeries(f"the images have {allocated} bits per pixel; 8, 16 and 32 can be read")
    if not 1 <= stored <= high + 1 <= allocated:
        raise BadFile(f"an image declares {stored} of {allocated} bits stored, the highest being bit {high}")
    return _Format(shape, allocated, stored, high, signed=integer(dataset, _REPRESENTATION, 0) == 1)


def _native(dataset: Dataset, syntax: UID, form: _Format) -> NDArray[np.integer]:
    element = dataset.get_item(_PIXEL_DATA)
    data = element.value if element is not None else None
    if not isinstance(data, bytes):
        raise BadFile("an image's pixels aren't bytes")
    # Values are padded to an even length, and by some writers further. Fewer bytes than declared: a truncated file.
    if len(data) < form.nbytes or len(data) > form.nbytes + 1 + form.nbytes // 100:
        raise BadFile(f"an image declares {form.nbytes} bytes of pixels and has {len(data)}")
    count = form.nbytes // form.dtype.itemsize
    if syntax.is_little_endian:
        return np.frombuffer(data, form.dtype, count).reshape(form.shape)
    # In big endian, 8-bit pixels may be kept in 16-bit words (DICOM PS3.5 8.1.2).
    if form.allocated == 8 and dataset[_PIXEL_DATA].VR == "OW":
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
    return np.frombuffer(data, form.dtype.newbyteorder(">"), count).astype(form.dtype).reshape(form.shape)


def _compressed(dataset: Dataset, syntax: UID, form: _Format) -> Iterator[NDArray[np.integer]]:
    plugin = decoding_plugin(syntax)
    count = 0
    for values, _ in get_decoder(syntax).iter_array(dataset, raw=True, decoding_plugin=plugin):
        if count >= form.shape[0] or values.shape != form.shape[1:]:
            raise BadFile("an image's compressed frames aren't what its header declares")
        yield values.astype(form.dtype, copy=False)
        count += 1
    if count != form.shape[0]:
        raise BadFile(f"an image declares {form.shape[0]} frames and has {count}")


def _significant(values: NDArray[np.integer], form: _Format) -> Pixels:
    """The BitsStored bits up to HighBit: the bits above may hold overlays of old scanners, or lack the sign."""
    if form.stored == form.allocated:
        return Pixels(values, (int(values.min()), int(values.max())))
    above, below = form.allocated - 1 - form.high, form.high + 1 - form.stored
    if form.signed:
        return Pixels(np.right_shift(np.left_shift(values, above), above + below), form.limits)
    if below == 0 and int(values.max()) <= form.limits[1]:
        return Pixels(values, form.limits)
    return Pixels((values >> below) & values.dtype.type(form.limits[1]), form.limits)


def _size(shape: tuple[int, int, int]) -> str:
    return " x ".join(str(n) for n in shape)


# Start-of-frame markers of JPEG (ITU-T T.81 table B.1) and JPEG-LS (T.87 C.1.1): 0xC4, 0xC8, 0xCC are other segments.
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_JPEG2000_START = b"\xff\x4f\xff\x51"


def check_size(frame: bytes, *, rows: int, columns: int) -> None:
    """Raise `BadFile` if a JPEG, JPEG-LS or JPEG 2000 frame is of another size than the header declares. Read from the
    frame itself, before a decoder allocates what it says."""
    size = _jpeg2000_size(frame) if _JPEG2000_START in frame[:512] else _jpeg_size(frame)
    if size != (rows, columns):
        raise BadFile(f"an image declares {rows} x {columns} pixels, its compressed frame says {size}")


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG or JPEG-LS codestream, None if it has no start of frame."""
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _START_OF_FRAME:
            rows, columns = struct.unpack_from(">HH", frame, at + 5)
            return rows, columns
        (length,) = struct.unpack_from(">H", frame, at + 2)
        at += 2 + length
    return None


def _jpeg2000_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG 2000 codestream, bare or in JP2 boxes (ITU-T T.800 A.5.1)."""
    at = frame.index(_JPEG2000_START, 0, 512) + len(_JPEG2000_START)
    if at + 20 > len(frame):
        return None
    x_end, y_end, x_start, y_start = struct.unpack_from(">4L", frame, at + 4)
    return y_end - y_start, x_end - x_start
