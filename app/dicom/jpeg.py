"""JPEG frames (ITU-T T.81: baseline, extended and lossless) by libjpeg-turbo, as a decoder plug-in of pydicom.

libjpeg-turbo 3 decodes 8 to 16 bits, in a third of the time of pylibjpeg's decoder, which is under the GPL.
"""

from __future__ import annotations

from importlib.util import find_spec

from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

PLUGIN = "imagecodecs"
SYNTAXES = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
DECODER_DEPENDENCIES = dict.fromkeys(SYNTAXES, ("imagecodecs>=2025",))
"""Read by pydicom."""

_END_OF_IMAGE = b"\xff\xd9"


def is_available(uid: str) -> bool:
    """Asked by pydicom."""
    return uid in SYNTAXES and find_spec("imagecodecs") is not None


def decode_frame(source: bytes, runner: DecodeRunner) -> bytearray:
    """The values of a frame, pixel by pixel, in the colours that it is stored in. Called by pydicom.

    Raises `ValueError` for a frame that has no end: the decoder would fill up what is missing with grey.
    """
    from imagecodecs import jpeg8_decode

    if not source.rstrip(b"\x00\xff").endswith(_END_OF_IMAGE):  # padded with either
        raise ValueError("a JPEG frame is cut off")
    stored = None if runner.samples_per_pixel == 1 else "YCBCR"  # the same in and out: nothing is converted
    values = jpeg8_decode(source, colorspace=stored, outcolorspace=stored)
    runner.set_option("bits_allocated", 8 * values.itemsize)
    return bytearray(values.tobytes())


def register() -> None:
    """Make pydicom know this decoder."""
    for syntax in map(UID, SYNTAXES):
        if PLUGIN not in get_decoder(syntax).available_plugins:
            get_decoder(syntax).add_plugin(PLUGIN, (__name__, decode_frame.__name__))
