"""Finding the pixels of a file, against pydicom's own reading of it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from app.dicom.frame_decoding import decoded_frame, explicit_little_endian, frame_values
from app.dicom.pixel_layout import PixelLayout, read_header, read_layout
from app.errors import BadFile, BadInput, UnusableSeries
from tests.dicom.synthetic import ct_series, encode, enhanced_series

NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
SYNTAXES = [*NATIVE, RLELossless, JPEGLSLossless]


def on_disk(dataset: Dataset, folder: Path) -> Path:
    path = folder / "one.dcm"
    path.write_bytes(encode(dataset))
    return path


def frames_of(path: Path) -> tuple[PixelLayout, list[bytes]]:
    with path.open("rb") as file:
        layout = read_layout(file)
        return layout, [layout.stored_frame(file.fileno(), n) for n in range(1, layout.frames + 1)]


def multi_frame(syntax: str) -> Dataset:
    if syntax != ExplicitVRBigEndian:
        return enhanced_series((5, 12, 10), transfer_syntax=syntax, reversed=True)[0]
    return ct_series((1, 12, 10), transfer_syntax=syntax)[0][0]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_frames_are_pydicom_s(syntax: str, tmp_path: Path) -> None:
    dataset = multi_frame(syntax)
    layout, frames = frames_of(on_disk(dataset, tmp_path))
    if UID(syntax).is_compressed:
        assert frames == list(generate_frames(dataset.PixelData, number_of_frames=layout.frames))
    else:
        assert b"".join(frames) == dataset.PixelData
    assert layout.frames == int(dataset.get("NumberOfFrames", 1))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_decoded_frames_are_pydicom_s_and_whole_files_can_be_rewritten(syntax: str, tmp_path: Path) -> None:
    dataset = multi_frame(syntax)
    path = on_disk(dataset, tmp_path)
    pixels = dataset.pixel_array.reshape(-1, 12, 10)
    with path.open("rb") as file:
        layout = read_layout(file)
        for number, expected in enumerate(pixels, start=1):
            assert decoded_frame(file.fileno(), layout, number) == expected.astype("<u2").tobytes()
            np.testing.assert_array_equal(frame_values(file.fileno(), layout, number), expected)
        rewritten = pydicom.dcmread(io.BytesIO(explicit_little_endian(file)))
    assert rewritten.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert rewritten.SOPInstanceUID == dataset.SOPInstanceUID
    np.testing.assert_array_equal(rewritten.pixel_array.reshape(-1, 12, 10), pixels)
    kept = [pydicom.dcmread(io.BytesIO(encode(d)))[:0x7FE00000].to_json_dict() for d in (rewritten, dataset)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
@pytest.mark.parametrize("fragments", [1, 2, 3])
def test_fragments_are_put_together(table: str, fragments: int, tmp_path: Path) -> None:
    dataset = multi_frame(JPEGLSLossless)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=5))
    if table == "extended":
        value, offsets, lengths = encapsulate_extended(frames)
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = value, offsets, lengths
    else:
        dataset.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=table == "basic")
    _, found = frames_of(on_disk(dataset, tmp_path))
    assert [frame.rstrip(b"\0") for frame in found] == [frame.rstrip(b"\0") for frame in frames]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_frames_of_single_bits_begin_at_a_byte(count: int, rows: int, columns: int, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (count, rows, columns), np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    layout = PixelLayout(
        str(ExplicitVRLittleEndian), 0x7FE00010, "OB", rows, columns, 1, 0, "MONOCHROME2", 1, 1, False, count, 0,
        len(packed), None,
    )  # fmt: skip
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(packed)
        file.flush()
        for number, plane in enumerate(bits, start=1):
            expected = np.packbits(plane.ravel(), bitorder="little").tobytes()
            assert layout.stored_frame(file.fileno(), number) == expected
            np.testing.assert_array_equal(frame_values(file.fileno(), layout, number), plane)


def test_an_instance_without_pixels(tmp_path: Path) -> None:
    dataset = ct_series((1, 8, 8))[0][0]
    del dataset.PixelData
    with on_disk(dataset, tmp_path).open("rb") as file:
        header, layout = read_header(file)
        assert (str(header.SOPInstanceUID), layout) == (dataset.SOPInstanceUID, None)
        file.seek(0)
        with pytest.raises(UnusableSeries):
            read_layout(file)


def test_frames_that_are_not_there(tmp_path: Path) -> None:
    layout, _ = frames_of(on_disk(multi_frame(RLELossless), tmp_path))
    layout.check_frames([1, 5])
    for wrong in (0, 6):
        with pytest.raises(BadInput):
            layout.check_frames([wrong])


@pytest.mark.parametrize("cut", [140, 500, -1, -200])
def test_cut_files(cut: int, tmp_path: Path) -> None:
    path = on_disk(multi_frame(RLELossless), tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises((BadFile, UnusableSeries)):
        frames_of(path)


def test_hostile_declarations(tmp_path: Path) -> None:
    native = multi_frame(ExplicitVRLittleEndian)
    native.NumberOfFrames = 100000
    with pytest.raises(BadFile):
        frames_of(on_disk(native, tmp_path))
    rle = multi_frame(RLELossless)
    rle.Rows = rle.Columns = 60000
    path = on_disk(rle, tmp_path)
    with path.open("rb") as file, pytest.raises(BadFile):
        decoded_frame(file.fileno(), read_layout(file), 1)
    with path.open("rb") as file, pytest.raises(BadFile):
        explicit_little_endian(file)


def test_deflated_files_are_refused(tmp_path: Path) -> None:
    dataset = ct_series((1, 8, 8))[0][0]
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with on_disk(dataset, tmp_path).open("rb") as file, pytest.raises(BadFile, match="deflated"):
        read_layout(file)


@pytest.mark.data
def test_real_frames_are_sitk_s(shared_data: Path) -> None:
    import SimpleITK as sitk

    for path in sorted((shared_data / "ct_dicom_phantom").glob("*.dcm"))[:5]:
        dataset = pydicom.dcmread(path)
        with path.open("rb") as file:
            layout = read_layout(file)
            values = np.frombuffer(decoded_frame(file.fileno(), layout, 1), "<i2" if layout.signed else "<u2")
        hu = values.reshape(512, 512) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(hu, sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0])
