"""The pixels of one instance -> stored values, checked against the header before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from app.dicom.codestream import check_size
from app.dicom.parsing import PARSER_ERRORS
from app.errors import BadFile, UnusableSeries

DEFAULT_MAX_BYTES = 4 << 30
"""How many bytes one instance may decode to."""

_NATIVE = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian}

# In this order, measured on 512x512 frames: pyjpegls decodes JPEG-LS four times faster than pylibjpeg, pylibjpeg RLE
# three times faster than pydicom.
_PLUGINS = {
    RLELossless: ("pylibjpeg", "pydicom"),
    JPEGBaseline8Bit: ("pylibjpeg",),
    JPEGExtended12Bit: ("pylibjpeg",),
    JPEGLossless: ("pylibjpeg",),
    JPEGLosslessSV1: ("pylibjpeg",),
    JPEGLSLossless: ("pyjpegls", "pylibjpeg"),
    JPEGLSNearLossless: ("pyjpegls", "pylibjpeg"),
    JPEG2000Lossless: ("pylibjpeg",),
    JPEG2000: ("pylibjpeg",),
    HTJ2KLossless: ("pylibjpeg",),
    HTJ2KLosslessRPCL: ("pylibjpeg",),
}


def stored_values(dataset: Dataset, max_bytes: int = DEFAULT_MAX_BYTES) -> NDArray[np.integer]:
    """The stored values `(frames, rows, columns)` of an instance, before rescale (DICOM PS3.3 C.7.6.3).

    8, 16 or 32 bits, signed or not; bits above BitsStored are masked or sign-extended. Uncompressed little endian
    pixels are a view on the dataset's bytes where nothing had to be changed. Raises `BadFile` if what is declared
    and what is there differ or exceed `max_bytes`, `UnusableSeries` for colour and for syntaxes that can't be decoded.
    """
    try:
        frames, rows, columns = _declared_shape(dataset)
        dtype = _declared_dtype(dataset)
        if frames * rows * columns * dtype.itemsize > max_bytes:
            raise BadFile(f"an image declares {frames} x {rows} x {columns} pixels, more than this server takes")
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        if syntax in _NATIVE:
            return _native(dataset, syntax, (frames, rows, columns), dtype)
        if syntax not in _PLUGINS:
            raise UnusableSeries(f"the images use the transfer syntax {syntax.name}, which can't be decoded here")
        return _compressed(dataset, syntax, (frames, rows, columns), dtype)
    except PARSER_ERRORS as error:
        raise BadFile(f"an image's pixels can't be decoded ({type(error).__name__})") from error


def _declared_shape(dataset: Dataset) -> tuple[int, int, int]:
    if "PixelData" not in dataset:
        raise UnusableSeries("an instance has no pixel data: it is no image that can be shown as a volume")
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise UnusableSeries("the images are in colour (SamplesPerPixel 3); only grey images make a volume")
    if str(dataset.get("PhotometricInterpretation", "")) == "PALETTE COLOR":
        raise UnusableSeries("the images are in colour (PALETTE COLOR); only grey images make a volume")
    frames = int(dataset.get("NumberOfFrames") or 1)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if min(frames, rows, columns) < 1:
        raise BadFile(f"an image declares {frames} x {rows} x {columns} pixels")
    return frames, rows, columns


def _declared_dtype(dataset: Dataset) -> np.dtype[np.integer]:
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if allocated not in (8, 16, 32):
        raise UnusableSeries(f"the images have {allocated} bits per pixel; 8, 16 and 32 can be read")
    if not 1 <= stored <= allocated:
        raise BadFile(f"an image declares {stored} bits stored in {allocated}")
    return np.dtype(f"{'i' if dataset.PixelRepresentation == 1 else 'u'}{allocated // 8}")


def _native(
    dataset: Dataset, syntax: UID, shape: tuple[int, int, int], dtype: np.dtype[np.integer]
) -> NDArray[np.integer]:
    element = dataset["PixelData"]
    data: bytes = element.value
    count = shape[0] * shape[1] * shape[2]
    expected = count * dtype.itemsize
    # The standard pads to an even length; some writers pad more. Fewer bytes than declared is a truncated file.
    if len(data) < expected or len(data) > expected + 1 + expected // 100:
        raise BadFile(f"an image declares {expected} bytes of pixels and has {len(data)}")
    if not syntax.is_little_endian:
        # In big endian, 8-bit pixels may be kept in 16-bit words (DICOM PS3.5 annex D and 8.1.2).
        if dtype.itemsize == 1 and element.VR == "OW":
            data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
        values = np.frombuffer(data, dtype.newbyteorder(">"), count).astype(dtype)
    else:
        values = np.frombuffer(data, dtype, count)
    return _significant(dataset, values.reshape(shape))


def _compressed(
    dataset: Dataset, syntax: UID, shape: tuple[int, int, int], dtype: np.dtype[np.integer]
) -> NDArray[np.integer]:
    # The codestream says its own size, and decoders believe it: look at it first.
    for frame in generate_frames(dataset.PixelData, number_of_frames=shape[0]):
        check_size(frame, syntax, rows=shape[1], columns=shape[2])
    values = np.empty(shape, dtype)
    count = 0
    for number, frame_values in enumerate(_decoded_frames(dataset, syntax)):
        if number >= shape[0] or frame_values.shape != shape[1:]:
            raise BadFile("an image's compressed frames aren't what its header declares")
        values[number] = frame_values.astype(dtype, copy=False)
        count += 1
    if count != shape[0]:
        raise BadFile(f"an image declares {shape[0]} frames and has {count}")
    return _significant(dataset, values)


def _decoded_frames(dataset: Dataset, syntax: UID) -> Iterator[NDArray[np.integer]]:
    decoder = get_decoder(syntax)
    plugin = next((p for p in _PLUGINS[syntax] if p in decoder.available_plugins), "")
    if not plugin:
        raise UnusableSeries(f"no decoder for the transfer syntax {syntax.name} is installed")
    for values, _ in decoder.iter_array(dataset, raw=True, decoding_plugin=plugin):
        yield values


def _significant(dataset: Dataset, values: NDArray[np.integer]) -> NDArray[np.integer]:
    """Only the BitsStored bits below HighBit: above them lie overlays of old scanners, or a sign left out."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = int(dataset.get("HighBit", stored - 1))
    if not stored - 1 <= high < allocated:
        raise BadFile(f"an image declares high bit {high} for {stored} of {allocated} bits")
    if stored == allocated:
        return values
    above = allocated - 1 - high
    below = high + 1 - stored
    if values.dtype.kind == "u":
        limit = (1 << stored) - 1
        if below == 0 and int(values.max()) <= limit:
            return values
        return (values >> below) & values.dtype.type(limit)
    shifted = np.left_shift(values, above)
    return np.asarray(np.right_shift(shifted, above + below))
