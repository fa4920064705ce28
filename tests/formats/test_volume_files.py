"""Volume files are read as ITK reads them where it does, and refused where it would do harm."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from contextlib import suppress
from unittest.mock import patch

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.volume import Geometry, Volume
from app.errors import BadFile
from app.formats.volume_files import (
    NIFTI_DATA_OFFSET,
    nifti_header_bytes,
    read_header,
    read_volume,
    write_nifti,
)
from tests.dicom import itk
from tests.dicom.synthetic import SHARED, grid, phantom

ENDINGS = [".nii", ".nii.gz", ".nrrd", ".mha"]
TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    orientation=st.sampled_from(["axial", "sagittal", "coronal", "oblique"]),
    spacing=st.tuples(*[st.floats(0.1, 8.0)] * 3),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
    dtype=st.sampled_from(TYPES),
    compress=st.booleans(),
)
def test_the_same_as_simpleitk(tmp_path_factory, shape, orientation, spacing, origin, dtype, compress):
    folder = tmp_path_factory.mktemp("volumes")
    geometry = grid(shape, orientation, spacing, origin=origin)
    voxels = phantom(shape).astype(dtype)
    for ending in ENDINGS:
        path = folder / f"a{ending}"
        sitk.WriteImage(itk.image(voxels, geometry), str(path), useCompression=compress)
        found = read_volume(path)
        theirs, their_geometry = itk.read(path)
        assert their_geometry.difference(found.geometry) is None
        assert geometry.difference(found.geometry, 5e-3) is None
        assert found.voxels.dtype == theirs.dtype
        np.testing.assert_array_equal(found.voxels, voxels)
    path = folder / ("b.nii.gz" if compress else "b.nii")
    write_nifti(path, Volume(voxels, geometry), compress=compress)
    theirs, their_geometry = itk.read(path)
    np.testing.assert_array_equal(theirs, voxels)
    assert geometry.difference(their_geometry, 5e-3) is None
    assert geometry.difference(read_volume(path).geometry, 5e-3) is None


@pytest.mark.parametrize("sform", range(3))
@pytest.mark.parametrize("qform", range(3))
def test_the_choice_between_sform_and_qform_is_that_of_itk(tmp_path, qform, sform):
    ras = np.diag([-1.0, -1, 1, 1])
    header = nib.Nifti1Header()
    header.set_data_shape((4, 3, 2))
    header.set_qform(ras @ grid((2, 3, 4), "oblique").affine, qform)
    header.set_sform(ras @ grid((2, 3, 4), "sagittal", origin=(1, 2, 3)).affine, sform)
    header["magic"], header["vox_offset"] = b"n+1", 352
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock + bytes(4) + bytes(4 * 24))
    _, geometry = itk.read(path)
    assert geometry.difference(read_volume(path).geometry) is None


def test_a_sheared_grid_is_kept(tmp_path):
    geometry = grid((4, 6, 5), gantry_tilt=15)
    write_nifti(tmp_path / "a.nii", Volume(phantom((4, 6, 5)), geometry))
    assert geometry.difference(read_volume(tmp_path / "a.nii").geometry) is None
    assert nib.load(tmp_path / "a.nii").header["qform_code"] == 0


def test_a_cache_can_write_the_header_then_map_the_slices(tmp_path):
    geometry, voxels = grid((3, 4, 5)), phantom((3, 4, 5))
    path = tmp_path / "a.nii"
    with path.open("wb") as file:
        assert file.write(nifti_header_bytes(geometry, voxels.dtype)) == NIFTI_DATA_OFFSET
        for piece in voxels:
            file.write(piece.tobytes())
    mapped = np.memmap(path, voxels.dtype, "r", NIFTI_DATA_OFFSET, geometry.shape)
    np.testing.assert_array_equal(mapped, itk.read(path)[0])
    assert (
        path.read_bytes()
        == (write_nifti(tmp_path / "b.nii", Volume(voxels, geometry)), (tmp_path / "b.nii"))[1].read_bytes()
    )


def test_compressed_twice_is_the_same_file(tmp_path):
    volume = Volume(phantom((3, 4, 5)), grid((3, 4, 5)))
    for name in "ab":
        write_nifti(tmp_path / f"{name}.nii.gz", volume, compress=True)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "dtype"),
    [("int16", 2, -10, "int16"), ("uint16", 1, -1024, "int32"), ("int16", 0.5, 0, "float32"), ("uint8", 0, 7, "uint8")],
)
def test_nifti_scaling(tmp_path, stored, slope, intercept, dtype):
    values = np.array([0, 1, 200, 65535 if stored == "uint16" else 100], stored).reshape(1, 2, 2)
    data = bytearray(nifti_header_bytes(grid((1, 2, 2)), values.dtype))
    data[112:120] = np.array([slope, intercept], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(bytes(data) + values.tobytes())
    found = read_volume(tmp_path / "a.nii").voxels
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values.astype(float) * slope + intercept if slope else values)


def test_nan_is_kept(tmp_path):
    voxels = np.full((2, 2, 2), np.nan, np.float32)
    write_nifti(tmp_path / "a.nii.gz", Volume(voxels, grid((2, 2, 2))), compress=True)
    assert np.isnan(read_volume(tmp_path / "a.nii.gz").voxels).all()


def test_big_endian_and_nifti_2(tmp_path):
    voxels = phantom((2, 3, 4))
    affine = np.diag([-1.0, -1, 1, 1]) @ grid((2, 3, 4), "oblique").affine
    nib.save(nib.Nifti2Image(voxels.transpose(), affine), tmp_path / "two.nii")
    big = nib.Nifti1Image(voxels.transpose(), affine, nib.Nifti1Header(endianness=">"))
    nib.save(big, tmp_path / "big.nii.gz")
    for name in ("two.nii", "big.nii.gz"):
        found = read_volume(tmp_path / name)
        np.testing.assert_array_equal(found.voxels, voxels)
        assert found.voxels.dtype.isnative
        assert grid((2, 3, 4), "oblique").difference(found.geometry) is None


def test_the_content_says_the_format_not_the_name(tmp_path):
    voxels, geometry = phantom((2, 3, 4)), grid((2, 3, 4))
    sitk.WriteImage(itk.image(voxels, geometry), str(tmp_path / "a.nrrd"))
    (tmp_path / "a.nrrd").rename(tmp_path / "a.nii.gz")
    assert read_header(tmp_path / "a.nii.gz").format == "NRRD"
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").voxels, voxels)


def test_several_gzip_members_are_one_stream(tmp_path):
    write_nifti(tmp_path / "a.nii", Volume(phantom((2, 3, 4)), grid((2, 3, 4))))
    data = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:]))
    np.testing.assert_array_equal(read_volume(tmp_path / "b.nii.gz").voxels, phantom((2, 3, 4)))


@pytest.mark.data
@pytest.mark.skipif(not SHARED.exists(), reason=f"real images are missing: {SHARED}")
def test_real_files_as_simpleitk_reads_them():
    paths = [*SHARED.glob("*/*.nii.gz"), *SHARED.glob("*/*.nrrd")]
    assert paths
    for path in paths:
        voxels, geometry = itk.read(path)
        found = read_volume(path)
        assert geometry.difference(found.geometry) is None
        np.testing.assert_array_equal(found.voxels, voxels)


# ---- hostile files: each is refused by its header, before memory is asked for -------------------------------------


def nifti(shape=(2, 3, 4), dtype="int16", **changes: object) -> bytearray:
    data = bytearray(nifti_header_bytes(Geometry(shape, np.eye(4)), np.dtype(dtype)))
    offsets = {"dims": (40, "<i2"), "datatype": (70, "<i2"), "vox_offset": (108, "<f4"), "magic": (344, "S4")}
    for name, value in changes.items():
        at, form = offsets[name]
        encoded = np.array(value, form).tobytes()
        data[at : at + len(encoded)] = encoded
    return data


NRRD = (
    "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 3 2\n"
    "space directions: (1,0,0) (0,1,0) (0,0,1)\nencoding: raw\nspace origin: (0,0,0)\n{more}\n"
)
MHA = "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\n{more}ElementDataFile = {file}\n"

PARTS = {"re_sizes": "4 3 2", "re_type": "uint8", "re_encoding": "raw", "re_space": "1,0,0"}


def nrrd(more: str = "", **changes: str) -> bytes:
    text = NRRD.format(more=more)
    for old, new in changes.items():
        text = text.replace(PARTS[old], new)
    return text.encode() + bytes(24)


HOSTILE = {
    "77 bytes that declare 10 gigavoxels": gzip.compress(bytes(nifti(dims=[3, 2048, 2048, 2500, 1, 1, 1, 1])), mtime=0),
    "zero size": nifti(dims=[3, 4, 0, 2, 1, 1, 1, 1]) + bytes(48),
    "negative size": nifti(dims=[3, 4, -3, 2, 1, 1, 1, 1]) + bytes(48),
    "no dimension": nifti(dims=[0, 4, 3, 2, 1, 1, 1, 1]) + bytes(48),
    "nine dimensions": nifti(dims=[9, 4, 3, 2, 1, 1, 1, 1]) + bytes(48),
    "five dimensions": nifti(dims=[5, 4, 3, 2, 1, 2, 1, 1]) + bytes(96),
    "time points": nifti(dims=[4, 4, 3, 2, 2, 1, 1, 1]) + bytes(96),
    "colour": nifti(datatype=128) + bytes(48),
    "offset beyond the file": nifti(vox_offset=1e6) + bytes(48),
    "offset in the header": nifti(vox_offset=8) + bytes(48),
    "offset that is none": nifti(vox_offset=np.nan) + bytes(48),
    "header and image apart": nifti(magic=b"ni1") + bytes(48),
    "no magic": nifti(magic=b"xxx") + bytes(48),
    "cut header": nifti()[:200],
    "one byte short": nifti() + bytes(47),
    "one byte long": nifti() + bytes(49),
    "inflates to more than declared": gzip.compress(nifti() + bytes(10_000_000)),
    "inflates to less than declared": gzip.compress(nifti() + bytes(20)),
    "cut in the middle": gzip.compress(nifti() + np.random.default_rng(0).bytes(48))[:-20],
    "cut in the checksum": gzip.compress(nifti() + bytes(48))[:-4],
    "wrong checksum": gzip.compress(nifti() + bytes(48))[:-8] + bytes(8),
    "not inflatable": b"\x1f\x8b" + bytes(100),
    "gzip of something else": gzip.compress(b"hello" * 100),
    "data file": nrrd("data file: /etc/passwd\n"),
    "datafile": nrrd("datafile: secret.raw\n"),
    "data file list": nrrd("data file: LIST\n"),
    "byte skip": nrrd("byte skip: -1\n"),
    "line skip": nrrd("line skip: 3\n"),
    "nrrd sizes": nrrd(re_sizes="2048 2048 25000"),
    "nrrd huge sizes": nrrd(re_sizes="99999999999 1 1"),
    "nrrd two sizes": nrrd(re_sizes="4 6"),
    "nrrd type": nrrd(re_type="block"),
    "nrrd encoding": nrrd(re_encoding="bzip2"),
    "nrrd text": nrrd(re_encoding="ascii"),
    "nrrd nan": nrrd(re_space="nan,0,0"),
    "nrrd flat": nrrd(re_space="0,0,0"),
    "nrrd without an end": nrrd()[:100],
    "nrrd no field": nrrd("hello\n"),
    "nrrd short": nrrd()[:-1],
    "mha other file": MHA.format(more="", file="/etc/passwd").encode(),
    "mha list": MHA.format(more="", file="LIST").encode() + b"a\nb\n",
    "mha pattern": MHA.format(more="", file="a%d.raw 1 9 1").encode(),
    "mha size": MHA.format(more="", file="LOCAL").replace("4 3 2", "4000 3000 2000").encode() + bytes(24),
    "mha header size": MHA.format(more="HeaderSize = 100\n", file="LOCAL").encode() + bytes(24),
    "mha ascii": MHA.format(more="BinaryData = False\n", file="LOCAL").encode() + bytes(24),
    "mha channels": MHA.format(more="ElementNumberOfChannels = 3\n", file="LOCAL").encode() + bytes(72),
    "mha bomb": MHA.format(more="CompressedData = True\n", file="LOCAL").encode() + zlib.compress(bytes(10_000_000)),
    "empty": b"",
    "text": b"hello",
    "dicom": bytes(128) + b"DICM" + bytes(400),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path, name):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(HOSTILE[name])
    tracemalloc.start()
    with pytest.raises(BadFile):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_the_limit_of_bytes(tmp_path):
    path = tmp_path / "a.nii"
    write_nifti(path, Volume(phantom((2, 3, 4)), grid((2, 3, 4))))
    read_volume(path, max_bytes=48)
    with pytest.raises(BadFile, match="4 x 3 x 2 voxels, more than"):
        read_volume(path, max_bytes=47)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_changed_bytes_never_raise_anything_else(tmp_path_factory, data):
    start = data.draw(st.sampled_from([bytes(nifti() + bytes(48)), nrrd(), MHA.format(more="", file="LOCAL").encode()]))
    changed = bytearray(start)
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, min(len(changed), 400) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "a"
    path.write_bytes(changed)
    with suppress(BadFile):
        read_volume(path, max_bytes=1 << 20)


def scaled_whole(values: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """How whole volumes were scaled in one go, through float64 and int64."""
    if (slope, intercept) == (1.0, 0.0):
        return values
    if values.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer() and values.dtype.itemsize <= 4:
        ends = [int(end) * int(slope) + int(intercept) for end in (values.min(), values.max())]
        for dtype in (np.int16, np.int32):
            if np.iinfo(dtype).min <= min(ends) and max(ends) <= np.iinfo(dtype).max:
                return (values.astype(np.int64) * int(slope) + int(intercept)).astype(dtype)
    scaled = values.astype(np.float64) * slope + intercept
    return scaled if values.dtype == np.float64 else scaled.astype(np.float32)


def scaled_file(folder, values: np.ndarray, slope: float, intercept: float, order: str = "<", compress: bool = True):
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(values.dtype.newbyteorder(order))
    header.set_data_shape(values.shape[::-1])
    header["scl_slope"], header["scl_inter"] = slope, intercept
    header["magic"], header["vox_offset"] = b"n+1", 352
    content = header.binaryblock + bytes(4) + values.astype(values.dtype.newbyteorder(order)).tobytes()
    path = folder / ("a.nii.gz" if compress else "a.nii")
    path.write_bytes(gzip.compress(content, 1) if compress else content)
    return path


@settings(max_examples=150, deadline=None)
@given(
    dtype=st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]),
    shape=st.sampled_from([(1, 1, 1), (3, 4, 5), (700, 1, 1)]),
    slope=st.one_of(st.integers(-1000, 1000).map(float), st.floats(width=32, allow_nan=False, allow_infinity=False)),
    intercept=st.one_of(st.just(0.0), st.integers(-40000, 40000).map(float), st.floats(-1e6, 1e6, width=32)),
    order=st.sampled_from("<>"),
    compress=st.booleans(),
    seed=st.integers(0, 5),
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_scaled_voxels_are_bit_by_bit_those_of_whole_arrays(
    tmp_path_factory, dtype, shape, slope, intercept, order, compress, seed
):
    rng = np.random.default_rng(seed)
    values = np.frombuffer(rng.bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype).reshape(shape)
    if seed < 2:
        values = (values != 0).astype(dtype) * 3
    path = scaled_file(tmp_path_factory.mktemp("scaled"), values, slope, intercept, order, compress)
    header = read_header(path)
    if header.dtype.kind in "iu" and max(abs(header.slope), abs(header.intercept)) >= 2**62 and not values.any():
        return  # this couldn't be computed
    with patch("app.formats.volume_files._PART", 7):
        found = read_volume(path).voxels
    wanted = scaled_whole(values, header.slope, header.intercept)
    assert (found.dtype, found.shape) == (wanted.dtype.newbyteorder("="), shape)
    assert found.tobytes() == wanted.astype(found.dtype, copy=False).tobytes()


@pytest.mark.parametrize(
    ("slope", "bytes_a_voxel"), [(0.5, 4), (2.0, 1 + 2), (1.0, 1)], ids=["real", "whole", "as stored"]
)
def test_a_scaled_volume_takes_little_more_memory_than_its_voxels(tmp_path, slope, bytes_a_voxel):
    values = np.zeros((128, 256, 256), np.uint8)
    values[-1] = 3
    path = scaled_file(tmp_path, values, slope, 0.0)
    tracemalloc.start()
    volume = read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert volume.voxels.max() == 3 * slope
    assert peak < bytes_a_voxel * values.size + (12 << 20)
