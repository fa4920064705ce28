"""Stored frames and instances -> uncompressed little endian, for clients that can't decode."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from app.dicom.decoding import check_size, decoding_plugin
from app.dicom.parsing import PARSER_ERRORS, parse
from app.dicom.pixel_layout import PixelLayout, read_layout
from app.errors import BadFile
from app.formats.volume_header import DEFAULT_MAX_BYTES

NATIVE = frozenset({str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian), str(ExplicitVRBigEndian)})

_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}


def decoded_frame(descriptor: int, layout: PixelLayout, number: int) -> bytes:
    """A frame (from 1) as rows of pixels, little endian, as in an uncompressed file (PS3.5 8.1).

    Raises `BadFile`, `UnusableSeries` (no decoder).
    """
    stored = layout.stored_frame(descriptor, number)
    if layout.syntax in NATIVE:
        return _swapped(stored, layout)
    values = _values(stored, layout, raw=True)
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def frame_values(descriptor: int, layout: PixelLayout, number: int) -> NDArray[np.generic]:
    """The stored values of a frame (from 1), `(rows, columns)` or `(rows, columns, samples)`, YBR as RGB.

    Raises what `decoded_frame` raises.
    """
    stored = layout.stored_frame(descriptor, number)
    return _values(_swapped(stored, layout) if layout.syntax in NATIVE else stored, layout, raw=False)


def explicit_little_endian(file: BinaryIO) -> bytes:
    """A Part 10 file in the transfer syntax that every client reads. Raises `BadFile`, `UnusableSeries`."""
    file.seek(0)
    content = file.read()
    dataset = parse(content)
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if syntax == ExplicitVRLittleEndian:
        return content
    try:
        if syntax in NATIVE:
            dataset = _rewritten(dataset, syntax)
        else:
            _check_frames(file)
            dataset.decompress(decoding_plugin=decoding_plugin(syntax), generate_instance_uid=False)
        stream = io.BytesIO()
        # Forced: pydicom refuses to convert from big endian otherwise, because of binary values, swapped already.
        dcmwrite(stream, dataset, implicit_vr=False, little_endian=True, force_encoding=True)
    except PARSER_ERRORS as error:
        raise BadFile(f"an instance can't be decompressed ({type(error).__name__})") from error
    return stream.getvalue()


def _values(frame: bytes, layout: PixelLayout, *, raw: bool) -> NDArray[np.generic]:
    syntax = UID(layout.syntax)
    native = syntax in NATIVE
    if not native:
        _check(frame, layout)
    described: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": layout.samples,
        "planar_configuration": layout.planar,
        "photometric_interpretation": layout.photometric,
        "bits_allocated": layout.allocated,
        "bits_stored": layout.stored,
        "pixel_representation": int(layout.signed),
        "number_of_frames": 1,
        "pixel_keyword": _KEYWORDS[layout.tag],
    }
    try:
        decoder = get_decoder(ExplicitVRLittleEndian if native else syntax)
        source = frame if native else encapsulate([frame], has_bot=False)
        plugin = "" if native else decoding_plugin(syntax)
        values, _ = decoder.as_array(source, index=0, raw=raw, decoding_plugin=plugin, **described)
    except PARSER_ERRORS as error:
        raise BadFile(f"a frame can't be decoded ({type(error).__name__})") from error
    return values


def _check_frames(file: BinaryIO) -> None:
    file.seek(0)
    layout = read_layout(file)
    if layout.frame_bits // 8 * layout.frames > DEFAULT_MAX_BYTES:
        raise BadFile("an instance declares more pixels than this server decompresses")
    for number in range(1, layout.frames + 1):
        _check(layout.stored_frame(file.fileno(), number), layout)


def _check(frame: bytes, layout: PixelLayout) -> None:
    """Refuse a frame whose size differs from the header's, because decoders trust it."""
    if layout.syntax == RLELossless:
        # RLE expands two bytes to 128 at most (PS3.5 annex G).
        if layout.frame_bits // 8 > 64 * len(frame):
            raise BadFile("an image declares more pixels than its RLE frame can hold")
    else:
        check_size(frame, rows=layout.rows, columns=layout.columns)


def _swapped(frame: bytes, layout: PixelLayout) -> bytes:
    """Native pixels in little endian. In big endian, 8-bit pixels may be stored in 16-bit words (PS3.5 8.1.2)."""
    size = max(layout.allocated // 8, 2 if layout.vr == "OW" else 1)
    if layout.syntax != ExplicitVRBigEndian or size == 1 or len(frame) % size:
        return frame
    return np.frombuffer(frame, f">u{size}").astype(f"<u{size}").tobytes()


def _rewritten(dataset: Dataset, syntax: UID) -> Dataset:
    """The data set with binary values in little endian; pydicom converts everything else."""
    if syntax == ExplicitVRBigEndian:
        for element in dataset.iterall():
            size = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}.get(element.VR, 0)
            if size and element.value and len(element.value) % size == 0:
                element.value = np.frombuffer(element.value, f">u{size}").astype(f"<u{size}").tobytes()
    else:
        for _ in dataset.iterall():
            """Converts every element: pydicom writes raw elements unchanged."""
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset
