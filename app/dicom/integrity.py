"""Whether an instance's pixel data is what its header declares, before the instance is kept."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.tag import Tag
from pydicom.uid import UID, ImplicitVRLittleEndian

from app.dicom.decoding import decode
from app.dicom.parsing import PARSER_ERRORS, PIXEL_KEYWORDS
from app.dicom.values import integer, text
from app.errors import BadFile, UnusableSeries

_FRAMES, _ROWS, _COLUMNS = Tag("NumberOfFrames"), Tag("Rows"), Tag("Columns")
_SAMPLES, _ALLOCATED = Tag("SamplesPerPixel"), Tag("BitsAllocated")
_PHOTOMETRIC = Tag("PhotometricInterpretation")


def is_image_class(sop_class: str) -> bool:
    """Whether the instances of a SOP class have pixel data; False for classes that pydicom doesn't know."""
    name = UID(sop_class).name
    return "Image Storage" in name or name in ("Segmentation Storage", "Label Map Segmentation Storage")


def check_pixels(dataset: Dataset, max_bytes: int) -> bool:
    """Check that the pixel data of an instance has the length that rows, columns, frames, samples and bits require, and
    that compressed frames of grey images can be decoded. Returns whether it has pixel data.

    Raises `BadFile` if it doesn't fit, or if an image has none.
    """
    try:
        keyword = next((one for one in PIXEL_KEYWORDS if one in dataset), "")
        if not keyword:
            if is_image_class(str(dataset.get("SOPClassUID", ""))):
                raise BadFile("an image has no pixel data")
            return False
        syntax = UID(dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
        if syntax.is_compressed:
            _check_compressed(dataset, max_bytes)
        else:
            _check_length(dataset, keyword, max_bytes)
    except PARSER_ERRORS as error:
        raise BadFile(f"an image's pixels can't be read ({type(error).__name__})") from error
    return True


def _check_length(dataset: Dataset, keyword: str, max_bytes: int) -> None:
    frames = int(text(dataset, _FRAMES) or 1)
    rows, columns = integer(dataset, _ROWS), integer(dataset, _COLUMNS)
    samples, allocated = integer(dataset, _SAMPLES, 1), integer(dataset, _ALLOCATED)
    if min(frames, rows, columns, samples, allocated) < 1:
        raise BadFile(f"an image declares {frames} x {rows} x {columns} pixels")
    if text(dataset, _PHOTOMETRIC) == "YBR_FULL_422":
        samples = 2  # two samples a pixel are stored (PS3.3 C.7.6.3.1.2)
    declared = -(-frames * rows * columns * samples * allocated // 8)
    value = dataset[keyword].value
    if not isinstance(value, bytes) or declared > max_bytes:
        raise BadFile(f"an image declares {declared} bytes of pixels, more than this server takes")
    # Values are padded to an even length, and by some writers further.
    if not declared <= len(value) <= declared + 1 + declared // 100:
        raise BadFile(
            f"an image declares {frames} x {rows} x {columns} pixels, {declared} bytes, and has {len(value)} bytes"
        )


def _check_compressed(dataset: Dataset, max_bytes: int) -> None:
    try:
        decode(dataset, max_bytes)
    except UnusableSeries:
        # In colour, or no decoder is installed: it makes no volume, but may be kept if its frames are there.
        frames = int(text(dataset, _FRAMES) or 1)
        found = sum(1 for _ in generate_frames(dataset.PixelData, number_of_frames=frames))
        if found != frames:
            raise BadFile(f"an image declares {frames} frames and has {found}") from None
