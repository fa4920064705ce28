"""Segmentations of other writers, and hostile ones."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from app.core.mask import Mask, Segment
from app.core.volume import Geometry
from app.dicom.seg import SegOptions, write_seg
from app.dicom.seg_read import read_seg
from app.dicom.series import assemble
from app.errors import BadFile, BadInput, GeometryMismatch
from app.formats.volume_files import read_volume
from tests.dicom import itk
from tests.dicom.masks import assert_same_voxels, random_mask
from tests.dicom.synthetic import SHARED, ct_series, encode, grid, uid

THREE_SLICES = SHARED / "ct_3slice_seg"
real = pytest.mark.skipif(not THREE_SLICES.exists(), reason=f"real images are missing: {THREE_SLICES}")


@pytest.fixture
def written(tmp_path):
    """A BINARY segmentation of a mask of three segments, the mask, and its source."""
    source = assemble(ct_series((6, 10, 12), orientation="oblique")[0])
    mask = random_mask(source.volume.geometry, 3)
    write_seg(mask, source.headers, tmp_path / "a.dcm", SegOptions(uid("a"), uid("b")))
    return pydicom.dcmread(tmp_path / "a.dcm"), mask, source


def highdicom_seg(source, array, kind, **options):
    import highdicom as hd
    from pydicom.sr.codedict import codes

    count = options.pop("count", int(np.ceil(array.max())) or 1)
    numbers = options.pop("numbers", range(1, count + 1))
    described = [hd.seg.SegmentDescription(n, f"part {n}", codes.SCT.Organ, codes.SCT.Liver, "MANUAL") for n in numbers]
    made = hd.seg.Segmentation(
        list(source.headers), array, kind, described, uid("c"), 1, uid("d"), 1, "m", "m", "1", "1", **options
    )
    stream = io.BytesIO()
    made.save_as(stream)
    return stream.getvalue()


def test_fractional_is_cut_at_half():
    source = assemble(ct_series()[0])
    fractions = np.random.default_rng(0).random(source.volume.geometry.shape).astype(np.float32)
    data = highdicom_seg(source, fractions, "FRACTIONAL", count=1, max_fractional_value=200)
    found = read_seg(data, source.volume.geometry)
    np.testing.assert_array_equal(found.layers[0], np.around(fractions * 200) >= 100)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLSLossless])
def test_labelmaps_with_gaps_in_their_numbers(syntax):
    source = assemble(ct_series()[0])
    labels = np.random.default_rng(0).choice([0, 2, 7, 300], source.volume.geometry.shape).astype(np.uint16)
    data = highdicom_seg(source, labels, "LABELMAP", numbers=[2, 7, 300], transfer_syntax_uid=syntax)
    found = read_seg(data, source.volume.geometry)
    assert [(s.number, s.name) for s in found.segments] == [(1, "part 2"), (2, "part 7"), (3, "part 300")]
    for number, old in enumerate((2, 7, 300), start=1):
        np.testing.assert_array_equal(found.voxels_of(number), labels == old)


def test_unordered_frames_and_sparse_segment_numbers(written):
    dataset, mask, source = written
    frames = list(dataset.PerFrameFunctionalGroupsSequence)
    count = dataset.Rows * dataset.Columns
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")[: len(frames) * count]
    order = np.random.default_rng(1).permutation(len(frames))
    dataset.PerFrameFunctionalGroupsSequence = [frames[n] for n in order]
    packed = np.packbits(bits.reshape(-1, count)[order].ravel(), bitorder="little").tobytes()
    dataset.PixelData = packed + bytes(len(packed) % 2)
    for item in dataset.SegmentSequence:
        item.SegmentNumber *= 10
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber *= 10
    assert_same_voxels(read_seg(dataset, source.volume.geometry), mask)


def test_cropped_frames_and_frames_on_a_grid_with_turned_axes(written):
    dataset, mask, source = written
    larger = source.volume.geometry
    shift = np.eye(4)
    shift[:3, 3] = [-3, -2, -1]
    around = Geometry(tuple(n + 5 for n in larger.shape), larger.affine @ shift)
    found = read_seg(dataset, around)
    np.testing.assert_array_equal(found.layers[0][1:7, 2:12, 3:15], mask.layers[0])
    assert np.count_nonzero(found.layers[0]) == np.count_nonzero(mask.layers[0])
    # The same voxels, numbered from the opposite corner and with rows and columns exchanged.
    turn = np.eye(4)
    turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, -1]]
    turn[:3, 3] = [larger.shape[2] - 1, 0, larger.shape[0] - 1]
    turned = Geometry((larger.shape[0], larger.shape[2], larger.shape[1]), larger.affine @ turn)
    expected = mask.layers[0][::-1, :, ::-1].transpose(0, 2, 1)
    np.testing.assert_array_equal(read_seg(dataset, turned).layers[0], expected)


def test_without_a_grid_the_frames_make_one(written):
    dataset, mask, _ = written
    found = read_seg(dataset)
    np.testing.assert_array_equal(found.layers[0], mask.layers[0][1:])  # slice 0 is empty and has no frame
    assert np.allclose(found.geometry.origin, mask.geometry.to_patient((1, 0, 0)))
    assert np.allclose(found.geometry.affine[:3, :3], mask.geometry.affine[:3, :3], atol=1e-6)


@pytest.mark.parametrize(
    ("shift", "match"),
    [((0.4, 0, 0), "0.40 voxels off"), ((0, 0, 0.5), "0.50 voxels off"), ((0, 0, 3), "outside")],
)
def test_frames_off_the_grid_are_refused(written, shift, match):
    dataset, mask, _ = written
    move = np.eye(4)
    move[:3, 3] = shift
    with pytest.raises(GeometryMismatch, match=match):
        read_seg(dataset, Geometry(mask.geometry.shape, mask.geometry.affine @ move))


def test_another_orientation_or_spacing_is_refused(written):
    dataset, mask, _ = written
    with pytest.raises(GeometryMismatch, match="don't lie along"):
        read_seg(dataset, grid(mask.geometry.shape, "axial"))
    with pytest.raises(GeometryMismatch, match=r"0\.7000, 0\.8000 mm apart"):
        read_seg(dataset, grid(mask.geometry.shape, "oblique", spacing=(0.75, 0.8, 2.5)))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: setattr(d, "NumberOfFrames", 10**9),
        lambda d: setattr(d, "Rows", 65535),
        lambda d: setattr(d, "PixelData", d.PixelData[:20]),
        lambda d: setattr(d, "SegmentSequence", []),
        lambda d: delattr(d, "SegmentSequence"),
        lambda d: delattr(d, "PerFrameFunctionalGroupsSequence"),
        lambda d: delattr(d, "SegmentationType"),
        lambda d: setattr(d, "BitsAllocated", 7),
        lambda d: setattr(d.SegmentSequence[0], "SegmentNumber", 99),
        lambda d: delattr(d.PerFrameFunctionalGroupsSequence[0], "SegmentIdentificationSequence"),
    ],
)
def test_hostile_headers_are_refused(written, change):
    dataset, mask, _ = written
    change(dataset)
    with pytest.raises(BadInput):
        read_seg(dataset, mask.geometry)


def test_an_image_is_no_segmentation():
    datasets, truth = ct_series()
    with pytest.raises(BadFile, match="not a voxel segmentation"):
        read_seg(encode(datasets[0]), truth.geometry)


def test_deep_overlaps_make_as_many_layers(tmp_path):
    source = assemble(ct_series((2, 8, 8))[0])
    geometry = source.volume.geometry
    layers = tuple(np.full(geometry.shape, n, np.uint8) for n in range(1, 5))
    mask = Mask(layers, tuple(Segment(n, f"part {n}", layer=n - 1) for n in range(1, 5)), geometry)
    write_seg(mask, source.headers, tmp_path / "a.dcm", SegOptions(uid("a"), uid("b")))
    found = read_seg(tmp_path / "a.dcm", geometry)
    assert_same_voxels(found, mask)
    assert len(found.layers) == 4


@pytest.mark.data
@real
def test_a_real_dcmqi_segmentation_equals_its_nrrd():
    source = assemble([pydicom.dcmread(THREE_SLICES / f"0{n}.dcm") for n in (1, 2, 3)]).volume
    found = read_seg(THREE_SLICES / "liver.dcm", source.geometry)
    truth = read_volume(THREE_SLICES / "liver_seg.nrrd")
    assert found.geometry.difference(truth.geometry) is None
    np.testing.assert_array_equal(found.layers[0], truth.voxels)
    assert [s.name for s in found.segments] == ["Liver"]


@pytest.mark.data
@real
def test_a_real_segmentation_with_partial_overlaps():
    import highdicom as hd

    source = assemble([pydicom.dcmread(THREE_SLICES / f"0{n}.dcm") for n in (1, 2, 3)])
    path = THREE_SLICES / "partial_overlaps.dcm"
    found = read_seg(path, source.volume.geometry)
    reader = hd.seg.segread(path)
    uids = [h.SOPInstanceUID for h in source.headers]
    expected = reader.get_pixels_by_source_instance(
        uids, assert_missing_frames_are_empty=True, ignore_spatial_locations=True
    )
    for segment in found.segments:
        np.testing.assert_array_equal(found.voxels_of(segment.number), expected[..., segment.number - 1] > 0)
    assert found.overlapping


def test_dcmqi_reads_our_labelmap(tmp_path):
    dcmqi = pytest.importorskip("dcmqi", reason="the dcmqi wheel, an independent reader, is not installed")
    source = assemble(ct_series()[0])
    mask = random_mask(source.volume.geometry, 12)
    write_seg(mask, source.headers, tmp_path / "a.dcm", SegOptions(uid("a"), uid("b")))
    tool = Path(dcmqi.__file__).parent / "bin" / "segimage2itkimage"
    command = [tool, "--inputDICOM", tmp_path / "a.dcm", "--outputDirectory", tmp_path, "-t", "nrrd", "--mergeSegments"]
    subprocess.run(command, check=True, capture_output=True)
    (out,) = tmp_path.glob("*.nrrd")
    voxels, geometry = itk.read(out)
    # dcmqi makes a volume of the stored frames; slice 0 is empty and has none.
    np.testing.assert_array_equal(voxels, mask.layers[0][1:])
    assert np.allclose(geometry.origin, mask.geometry.to_patient((1, 0, 0)), atol=1e-3)
    assert np.allclose(geometry.affine[:3, :3], mask.geometry.affine[:3, :3], atol=1e-5)
