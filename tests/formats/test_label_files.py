"""Masks that clients submit land on the case's voxels exactly, or are refused with the difference."""

from __future__ import annotations

import gzip
import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.mask import Code, Mask
from app.core.volume import Geometry
from app.errors import BadFile, BadInput, GeometryMismatch
from app.formats.label_files import described_segments, read_label, write_label_nifti
from tests.dicom import itk
from tests.dicom.masks import assert_same_voxels, random_mask
from tests.dicom.synthetic import grid

GRID = grid((5, 7, 6), "oblique")
LABELS = random_mask(GRID, 3).layers[0]
NAMES = ["liver", "spleen", "tumour"]
FILES = [".nii", ".nii.gz", ".nrrd", ".mha"]


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_values_are_positions_in_the_list(tmp_path, ending, dtype):
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(itk.image(LABELS.astype(dtype), GRID), str(path), useCompression=True)
    found = read_label(path, GRID, NAMES)
    assert found.layers[0].dtype == np.uint8
    assert_same_voxels(found, Mask.single(LABELS, NAMES, GRID))


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    orientation=st.sampled_from(["axial", "sagittal", "coronal", "oblique"]),
    order=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
    ending=st.sampled_from(FILES),
)
def test_turned_axes_are_turned_back(tmp_path_factory, shape, orientation, order, flips, ending):
    geometry = grid(shape, orientation)
    mask = random_mask(geometry, 3)
    path = tmp_path_factory.mktemp("labels") / f"a{ending}"
    turned = sitk.Flip(sitk.PermuteAxes(itk.image(mask.layers[0], geometry), order), flips)
    sitk.WriteImage(turned, str(path))
    np.testing.assert_array_equal(read_label(path, geometry, NAMES).layers[0], mask.layers[0])


def test_raw_bytes(tmp_path):
    for values in (LABELS, LABELS.astype("<u2")):
        (tmp_path / "label.bin").write_bytes(values.tobytes())
        np.testing.assert_array_equal(read_label(tmp_path / "label.bin", GRID, NAMES).layers[0], LABELS)
    (tmp_path / "label.bin").write_bytes(LABELS.tobytes()[:-1])
    with pytest.raises(GeometryMismatch, match=r"209 bytes; the image has 210 voxels"):
        read_label(tmp_path / "label.bin", GRID, NAMES)


def test_without_names_segments_are_numbered(tmp_path):
    (tmp_path / "label.bin").write_bytes(LABELS.tobytes())
    assert [s.name for s in read_label(tmp_path / "label.bin", GRID).segments] == [f"Segment {n}" for n in (1, 2, 3)]


def test_values_without_a_name_are_listed(tmp_path):
    (tmp_path / "label.bin").write_bytes(np.where(LABELS == 3, 40, LABELS).astype(np.uint8).tobytes())
    with pytest.raises(BadInput, match="has the values 40, but names for 3"):
        read_label(tmp_path / "label.bin", GRID, NAMES)


@pytest.mark.parametrize("value", [-1.0, 0.5, np.nan, np.inf, 70000])
def test_values_that_number_no_segment(tmp_path, value):
    values = LABELS.astype(np.float64)
    values[1, 1, 1] = value
    sitk.WriteImage(itk.image(values, GRID), str(tmp_path / "a.mha"))
    with pytest.raises(BadInput):
        read_label(tmp_path / "a.mha", GRID, NAMES)


def test_the_names_of_empty_segments_are_kept(tmp_path):
    (tmp_path / "label.bin").write_bytes(bytes(210))
    assert [s.name for s in read_label(tmp_path / "label.bin", GRID, NAMES).segments] == NAMES


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize(
    ("other", "match"),
    [
        (grid((5, 7, 5), "oblique"), "size is 5 x 7 x 5, expected 6 x 7 x 5"),
        (grid((5, 7, 6), "axial"), "mm apart"),
        (grid((5, 7, 6), "oblique", spacing=(0.7, 0.8, 2.51)), "mm apart"),
        (grid((5, 7, 6), "oblique", origin=(-120.5, -90.2, -300)), "mm apart"),
    ],
)
def test_another_grid_is_refused_with_the_difference(tmp_path, ending, other, match):
    labels = np.zeros(other.shape, np.uint8)
    sitk.WriteImage(itk.image(labels, other), str(tmp_path / f"a{ending}"))
    with pytest.raises(GeometryMismatch, match=match):
        read_label(tmp_path / f"a{ending}", GRID, NAMES)


@pytest.mark.parametrize("overlapping", [False, True])
def test_nifti_round_trip(tmp_path, overlapping):
    mask = random_mask(GRID, 3, overlapping=overlapping)
    write_label_nifti(mask, tmp_path / "a.nii.gz")
    found = read_label(tmp_path / "a.nii.gz", GRID, [s.name for s in mask.segments])
    assert_same_voxels(found, mask)
    theirs = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert theirs.GetSize() == ((6, 7, 5, 2) if overlapping else (6, 7, 5))


def seg_nrrd(path, arrays, geometry, extra, layers=True):
    """A `.seg.nrrd` as 3D Slicer writes it, with the layers as the fastest axis."""
    vectors = [f"({','.join(repr(float(v)) for v in geometry.affine[:3, c])})" for c in range(3)]
    sizes = [*geometry.shape[::-1]]
    data = arrays[0]
    kinds = ["domain"] * 3
    if layers:
        sizes, vectors, kinds = [len(arrays), *sizes], ["none", *vectors], ["list", *kinds]
        data = np.stack(arrays, axis=-1)
    origin = ",".join(repr(float(v)) for v in geometry.origin)
    header = (
        f"NRRD0005\n# Complete NRRD file format specification at:\ntype: unsigned char\ndimension: {len(sizes)}\n"
        f"space: left-posterior-superior\nsizes: {' '.join(map(str, sizes))}\nspace directions: {' '.join(vectors)}\n"
        f"kinds: {' '.join(kinds)}\nencoding: gzip\nspace origin: ({origin})\n{extra}\n"
    )
    path.write_bytes(header.encode() + gzip.compress(data.astype(np.uint8).tobytes()))


TERMS = (
    "Segmentation.Status:inprogress|TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^|"
)


def test_slicer_segmentations_bring_names_values_layers_and_codes(tmp_path):
    one, two = LABELS, (LABELS > 0).astype(np.uint8)
    extra = (
        f"Segment0_ID:=Segment_1\nSegment0_Name:=Leber: links\nSegment0_LabelValue:=3\nSegment0_Layer:=0\n"
        f"Segment0_Color:=0.5 0.25 1\nSegment0_Tags:={TERMS}\n"
        "Segment1_Name:=all\nSegment1_LabelValue:=1\nSegment1_Layer:=1\n"
        "Segment2_Name:=one\nSegment2_LabelValue:=1\nSegment2_Layer:=0\n"
        "Segment10_Name:=empty\nSegment10_LabelValue:=9\nSegment10_Layer:=1\n"
    )
    seg_nrrd(tmp_path / "a.seg.nrrd", [one, two], GRID, extra)
    found = read_label(tmp_path / "a.seg.nrrd", GRID, ["ignored"])
    assert [s.name for s in found.segments] == ["Leber: links", "all", "one", "empty"]
    assert [s.layer for s in found.segments] == [0, 1, 0, 1]
    assert found.segments[0].color == (128, 64, 255)
    assert found.segments[0].type == Code("10200004", "SCT", "Liver")
    np.testing.assert_array_equal(found.voxels_of(1), one == 3)
    np.testing.assert_array_equal(found.voxels_of(2), two == 1)
    np.testing.assert_array_equal(found.voxels_of(3), one == 1)
    assert not found.voxels_of(4).any()


def test_a_cropped_slicer_segmentation_is_put_in_its_place(tmp_path):
    box = (slice(1, 4), slice(2, 6), slice(1, 5))
    move = np.eye(4)
    move[:3, 3] = [1, 2, 1]
    small = Geometry((3, 4, 4), GRID.affine @ move)
    extra = "".join(f"Segment{n}_Name:=part {n}\nSegment{n}_LabelValue:={n}\n" for n in (1, 2, 3))
    seg_nrrd(tmp_path / "a.seg.nrrd", [LABELS[box]], small, extra, layers=False)
    expected = np.zeros_like(LABELS)
    expected[box] = LABELS[box]
    np.testing.assert_array_equal(read_label(tmp_path / "a.seg.nrrd", GRID).layers[0], expected)
    move[:3, 3] = [3, 2, 1]
    seg_nrrd(tmp_path / "a.seg.nrrd", [LABELS[box]], Geometry((3, 4, 4), GRID.affine @ move), extra, layers=False)
    with pytest.raises(GeometryMismatch, match="reaches outside"):
        read_label(tmp_path / "a.seg.nrrd", GRID)


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        ("Segment0_Name:=a\nSegment0_LabelValue:=1\n", "values 3, which its header doesn't name"),
        ("Segment0_LabelValue:=x\n", "gives segment 0 the value 'x'"),
        ("Segment0_LabelValue:=1\nSegment1_LabelValue:=1\n", "two segments the same value"),
        ("Segment0_LabelValue:=1\nSegment1_LabelValue:=3\nSegment2_LabelValue:=3\nSegment2_Layer:=7\n", "layer"),
    ],
)
def test_slicer_headers_that_do_not_fit_their_voxels(tmp_path, extra, match):
    seg_nrrd(tmp_path / "a.seg.nrrd", [LABELS], GRID, extra, layers=False)
    with pytest.raises(BadInput, match=match):
        read_label(tmp_path / "a.seg.nrrd", GRID, NAMES)


def test_several_volumes_without_a_description_are_refused(tmp_path):
    seg_nrrd(tmp_path / "a.nrrd", [LABELS, LABELS], GRID, "")
    with pytest.raises(BadFile, match="2 volumes"):
        read_label(tmp_path / "a.nrrd", GRID, NAMES)


def test_every_turn_has_one_way_back():
    from app.formats.grids import view_like

    for order, flips in itertools.product(itertools.permutations(range(3)), itertools.product([0, 1], repeat=3)):
        turned = sitk.Flip(sitk.PermuteAxes(itk.image(LABELS, GRID), order), [bool(f) for f in flips])
        voxels, geometry = itk.of(turned)
        view = view_like(geometry, GRID)
        assert view is not None
        assert GRID.difference(view.geometry) is None
        np.testing.assert_array_equal(view.of(voxels), LABELS)


@pytest.mark.parametrize("number", ["00", "07", "\u0663", "123456", "1\n"])
def test_keys_that_number_no_segment_describe_none(number):
    assert described_segments({f"Segment{number}_LabelValue": "1"}) == []


@pytest.mark.parametrize(
    ("tags", "codes"),
    [
        ("A:1|TerminologyEntry:c~SCT^1^One~SRT^2^Two^x~~|B:2", (Code("1", "SCT", "One"), Code("2", "SRT", "Two"))),
        ("TerminologyEntry:c~SCT^1^One|TerminologyEntry:c~S^3^~S^4^", (Code("3", "S", ""), Code("4", "S", ""))),
        ("TerminologyEntry:c~SCT^^One~SCT^2^Two", (None, None)),
        ("TerminologyEntry:c~SCT^1^One^more~SCT^2^Two", (None, None)),
        ("", (None, None)),
    ],
)
def test_terms_of_a_slicer_segment(tags, codes):
    (described,) = described_segments({"Segment0_LabelValue": "1", "Segment0_Tags": tags})
    assert (described.segment.category, described.segment.type) == codes
