"""A series becomes the volume that was acquired: same voxels, same place, whatever its form."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from app.dicom.series import Assembled, SeriesBuilder, assemble
from app.errors import BadFile, UnusableSeries
from tests.dicom import itk
from tests.dicom.synthetic import (
    SHARED,
    Truth,
    ct_series,
    encode,
    enhanced_series,
    mr_series,
    pt_series,
    write_series,
)


def assert_same(found: Assembled, truth: Truth) -> None:
    assert truth.geometry.difference(found.volume.geometry) is None
    assert found.volume.voxels.dtype == truth.voxels.dtype
    np.testing.assert_array_equal(found.volume.voxels, truth.voxels)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 6), st.integers(1, 9), st.integers(1, 9)),
    orientation=st.sampled_from(["axial", "sagittal", "coronal", "oblique"]),
    spacing=st.tuples(*[st.floats(0.2, 6.0)] * 3),
    reversed_=st.booleans(),
    modality=st.sampled_from(["CT", "MR", "PT"]),
    signed=st.booleans(),
)
def test_any_grid_and_modality(shape, orientation, spacing, reversed_, modality, signed):
    datasets, truth = ct_series(
        shape, orientation=orientation, spacing=spacing, reversed=reversed_, modality=modality, signed=signed
    )
    found = assemble(datasets)
    assert_same(found, truth)
    assert found.volume.warnings == ()
    assert found.volume.modality == modality
    positions = [np.array(h.ImagePositionPatient, float) @ truth.geometry.affine[:3, 2] for h in found.headers]
    assert positions == sorted(positions)


def test_gantry_tilt_keeps_the_shear_and_says_so():
    datasets, truth = ct_series(gantry_tilt=15.0)
    found = assemble(datasets)
    assert_same(found, truth)
    assert "15.0 degrees" in found.volume.warnings[0]


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
@pytest.mark.parametrize("shared", [True, False])
def test_enhanced_multiframe(modality, shared):
    dataset, truth = enhanced_series(modality=modality, shared=shared, reversed=True, orientation="oblique")
    found = assemble([dataset])
    assert_same(found, truth)
    assert len(found.headers) == 1


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
)
def test_transfer_syntaxes_decode_to_the_same_voxels(syntax):
    datasets, truth = ct_series((3, 64, 80), transfer_syntax=syntax)
    assert_same(assemble([pydicom.dcmread(pydicom.filebase.DicomBytesIO(encode(d))) for d in datasets]), truth)
    enhanced, truth = enhanced_series((3, 64, 80), transfer_syntax=syntax)
    assert_same(assemble([enhanced]), truth)


@pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="dcmtk's dcmcjpeg, the JPEG lossless encoder, is missing")
@pytest.mark.parametrize(("option", "syntax"), [("+e1", JPEGLosslessSV1), ("+el", JPEGLossless)])
def test_jpeg_lossless(tmp_path, option, syntax):
    datasets, truth = ct_series((3, 64, 80))
    builder = SeriesBuilder()
    for path in write_series(datasets, tmp_path):
        subprocess.run(["dcmcjpeg", option, path, path.with_suffix(".jpg")], check=True)
        data = path.with_suffix(".jpg").read_bytes()
        assert pydicom.dcmread(path.with_suffix(".jpg")).file_meta.TransferSyntaxUID == syntax
        builder.add(data)
    assert_same(builder.build(), truth)


@pytest.mark.parametrize("orientation", ["axial", "sagittal", "coronal", "oblique"])
def test_simpleitk_reads_the_same_volume(tmp_path, orientation):
    for make in (ct_series, mr_series, pt_series):
        folder = tmp_path / make.__name__
        datasets, _ = make(orientation=orientation, reversed=True)
        write_series(datasets, folder)
        voxels, geometry = itk.read_series(folder)
        found = assemble(datasets).volume
        assert geometry.difference(found.geometry) is None
        np.testing.assert_allclose(found.voxels, voxels, rtol=1e-6)


def test_bytes_as_they_arrive():
    datasets, truth = ct_series()
    builder = SeriesBuilder()
    for dataset in datasets:
        builder.add(encode(dataset))
    found = builder.build()
    assert_same(found, truth)
    assert all("PixelData" not in header for header in found.headers)


def test_the_datasets_are_left_as_they_are():
    datasets, _ = ct_series()
    before = [encode(d) for d in datasets]
    assemble(datasets)
    assert [encode(d) for d in datasets] == before


@pytest.mark.parametrize(
    ("allocated", "stored", "signed", "raw", "expected"),
    [
        (16, 12, False, [0xF123, 0x0FFF], [0x123, 0xFFF]),  # an overlay in the bits above is no part of the value
        (16, 12, True, [0x0FFF, 0x07FF], [-1, 2047]),  # a sign that wasn't extended
        (8, 8, False, [0, 255], [0, 255]),
        (8, 8, True, [0x80, 0x7F], [-128, 127]),
        (16, 16, True, [0xF830, 100], [-2000, 100]),  # the padding value of scanners
    ],
)
def test_stored_bits(allocated, stored, signed, raw, expected):
    datasets, _ = mr_series((1, 1, 2))
    dataset = datasets[0]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, stored, stored - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = np.array(raw, f"<u{allocated // 8}").tobytes()
    voxels = assemble(datasets).volume.voxels
    assert voxels.dtype == np.int16
    assert voxels.ravel().tolist() == expected


def test_values_that_need_more_than_16_bits_or_fractions():
    datasets, _ = mr_series((2, 1, 2))
    for dataset in datasets:
        dataset.PixelData = np.array([0, 65535], "<u2").tobytes()
    assert assemble(datasets).volume.voxels.dtype == np.int32
    for dataset in datasets:
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-40000"
    wide = assemble(datasets).volume.voxels
    assert (wide.dtype, wide.min(), wide.max()) == (np.int32, -40000, 25535)
    for dataset in datasets:
        dataset.PixelData = np.array([30000, 50000], "<u2").tobytes()
    fits = assemble(datasets).volume.voxels
    assert (fits.dtype, fits.min(), fits.max()) == (np.int16, -10000, 10000)
    datasets[0].RescaleSlope = "0.5"
    assert assemble(datasets).volume.voxels.dtype == np.float32


def test_monochrome1_keeps_its_values():
    datasets, truth = ct_series()
    for dataset in datasets:
        dataset.PhotometricInterpretation = "MONOCHROME1"
    assert_same(assemble(datasets), truth)


def test_what_is_no_grey_image_is_refused_by_name():
    datasets, _ = ct_series((2, 4, 4))
    datasets[0].SamplesPerPixel = 3
    with pytest.raises(UnusableSeries, match="colour"):
        assemble(datasets)
    datasets, _ = ct_series((2, 4, 4))
    del datasets[0].PixelData
    with pytest.raises(UnusableSeries, match="no pixel data"):
        assemble(datasets)
    with pytest.raises(UnusableSeries, match="no images"):
        assemble([])
    datasets, _ = ct_series((2, 4, 4))
    datasets[1].SeriesInstanceUID = "1.2.3"
    with pytest.raises(UnusableSeries, match="more than one series"):
        assemble(datasets)


def test_the_whole_series_has_one_limit():
    datasets, _ = ct_series((4, 8, 8))
    assemble(datasets, max_bytes=4 * 128)
    with pytest.raises(BadFile, match="more than this server takes"):
        assemble(datasets, max_bytes=4 * 128 - 1)


@pytest.mark.data
@pytest.mark.skipif(not SHARED.exists(), reason=f"real images are missing: {SHARED}")
def test_a_real_series_as_simpleitk_reads_it():
    folder = SHARED / "ct_dicom_phantom"
    found = assemble([pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]).volume
    voxels, geometry = itk.read_series(folder)
    assert geometry.difference(found.geometry) is None
    np.testing.assert_array_equal(found.voxels, voxels)


def test_explicit_little_endian_is_a_view_not_a_copy():
    from app.dicom.decoding import decode

    datasets, _ = ct_series((1, 8, 8), transfer_syntax=ExplicitVRLittleEndian)
    assert not decode(datasets[0]).stored.flags.owndata
