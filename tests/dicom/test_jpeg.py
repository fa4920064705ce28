"""JPEG frames. Lossless ones that dcmtk wrote are in test_series.py."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from imagecodecs import jpeg8_encode
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGLossless, JPEGLosslessSV1

from app.dicom.decoding import decode
from app.errors import BadFile
from tests.dicom.synthetic import ct_series


def instance(frame: bytes, syntax: UID, shape: tuple[int, int], stored: int, signed: bool = False) -> Dataset:
    """A CT slice with a compressed frame as its pixels."""
    made = ct_series((1, *shape))[0][0]
    made.file_meta.TransferSyntaxUID = syntax
    made.BitsAllocated, made.BitsStored, made.HighBit = (8 if stored <= 8 else 16), stored, stored - 1
    made.PixelRepresentation = int(signed)
    made.PixelData = encapsulate([frame])
    made["PixelData"].VR = "OB"
    return made


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize(("stored", "signed"), [(8, False), (12, False), (16, False), (16, True)])
def test_lossless_frames_of_every_depth_and_predictor(stored: int, signed: bool, predictor: int) -> None:
    values = np.random.default_rng(predictor).integers(0, 1 << stored, (21, 34)).astype(f"u{1 if stored == 8 else 2}")
    frame = jpeg8_encode(values, lossless=True, bitspersample=stored, predictor=predictor)
    syntax = JPEGLosslessSV1 if predictor == 1 else JPEGLossless
    found = decode(instance(frame, syntax, (21, 34), stored, signed)).stored[0]
    np.testing.assert_array_equal(found, values.astype(np.int16) if signed else values)


def test_twelve_bits_with_loss() -> None:
    """The values are those that pydicom's own tests name for its file."""
    dataset = pydicom.dcmread(get_testdata_file("JPGExtended.dcm"))
    found = decode(dataset).stored[0]
    assert found.shape == (1024, 256)
    assert (int(found[420, 140]), int(found[230, 120])) == (244, 95)


def test_baseline() -> None:
    values = (np.add.outer(np.arange(40), 2 * np.arange(60)) % 256).astype(np.uint8)
    smooth = np.sort(values, axis=1)
    found = decode(instance(jpeg8_encode(smooth, level=100), JPEGBaseline8Bit, (40, 60), 8)).stored[0]
    assert np.abs(found.astype(int) - smooth).max() <= 2


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_frame_that_is_cut_off_is_refused_instead_of_filled_with_grey(share: float) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.uint16)
    frame = jpeg8_encode(values, lossless=True, bitspersample=12)
    with pytest.raises(BadFile):
        decode(instance(frame[: round(share * len(frame))], JPEGLosslessSV1, (64, 64), 12))


def test_a_frame_may_be_padded() -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    frame = jpeg8_encode(values, lossless=True)
    for padding in (b"\x00", b"\xff", b"\x00" * 9):
        made = instance(frame + padding, JPEGLosslessSV1, (8, 8), 8)
        assert next(generate_frames(made.PixelData, number_of_frames=1)).startswith(frame)
        np.testing.assert_array_equal(decode(made).stored[0], values)
