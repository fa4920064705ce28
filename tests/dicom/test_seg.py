"""Masks become DICOM segmentations that hold exactly the same voxels, and that other software accepts."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from app.core.mask import Mask, Segment
from app.core.volume import Geometry
from app.dicom.seg import SegKind, SegOptions, write_seg
from app.dicom.seg_read import read_seg
from app.dicom.series import assemble
from app.errors import BadInput, GeometryMismatch
from tests.dicom import itk
from tests.dicom.masks import assert_same_voxels, random_mask
from tests.dicom.synthetic import ct_series, encode, enhanced_series, mr_series, pt_series, uid, write_series

OPTIONS = SegOptions(uid("label"), uid("label series"), software_version="0.1")

UNNEEDED = [
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "Manufacturer",
    "SpecificCharacterSet",
    "SliceThickness",
    "SeriesNumber",
]

SERIES = {
    "axial": ct_series,
    "oblique": lambda: ct_series(orientation="oblique", reversed=True),
    "sagittal": lambda: ct_series(orientation="sagittal"),
    "coronal": lambda: ct_series(orientation="coronal"),
    "gantry tilt": lambda: ct_series(gantry_tilt=12),
    "gap filled": lambda: ct_series(missing=[4]),
    "single slice": lambda: ct_series((1, 20, 16)),
    "odd size": lambda: ct_series((4, 7, 5)),
    "MR": mr_series,
    "PT": lambda: pt_series(orientation="oblique"),
}
SERIES |= {
    f"enhanced {modality} {'shared' if shared else 'per frame'}": (
        lambda m=modality, s=shared: (
            [enhanced_series(modality=m, shared=s, reversed=True, orientation="oblique")[0]],
            None,
        )
    )
    for modality in ("CT", "MR", "PT")
    for shared in (True, False)
}


@pytest.mark.parametrize("name", SERIES)
def test_round_trip_on_every_kind_of_series(tmp_path, name):
    source = assemble(SERIES[name]()[0], fill_gaps=True)
    for count, overlapping, kind in ((1, False, "auto"), (4, False, "binary"), (4, True, "auto"), (12, False, "auto")):
        mask = random_mask(source.volume.geometry, count, overlapping=overlapping)
        path = tmp_path / f"{count}{overlapping}.dcm"
        write_seg(mask, source.headers, path, OPTIONS if kind == "auto" else SegOptions(uid("a"), uid("b"), kind=kind))
        assert_same_voxels(read_seg(path, source.volume.geometry), mask)
        written = pydicom.dcmread(path)
        assert written.SegmentationType == ("LABELMAP" if count > 10 else "BINARY")
        if count != 1:
            assert written.SegmentsOverlap == ("YES" if overlapping else "NO")


def test_more_segments_than_a_byte_holds(tmp_path):
    source = assemble(ct_series((3, 20, 20))[0])
    mask = random_mask(source.volume.geometry, 300)
    write_seg(mask, source.headers, tmp_path / "a.dcm", OPTIONS)
    found = read_seg(tmp_path / "a.dcm", source.volume.geometry)
    assert_same_voxels(found, mask)
    assert found.layers[0].dtype == np.uint16


@pytest.mark.parametrize("count", [1, 3, 12])
def test_a_wholly_empty_mask_is_a_valid_object(tmp_path, count):
    source = assemble(ct_series()[0])
    names = [f"part {n}" for n in range(count)]
    mask = Mask.single(np.zeros(source.volume.geometry.shape, np.uint8), names, source.volume.geometry)
    write_seg(mask, source.headers, tmp_path / "a.dcm", OPTIONS)
    assert_same_voxels(read_seg(tmp_path / "a.dcm", source.volume.geometry), mask)


def test_overlapping_segments_refuse_a_labelmap(tmp_path):
    source = assemble(ct_series()[0])
    mask = random_mask(source.volume.geometry, 3, overlapping=True)
    with pytest.raises(BadInput, match=r"overlap.*BINARY"):
        write_seg(mask, source.headers, tmp_path / "a.dcm", SegOptions(uid("a"), uid("b"), kind="labelmap"))
    assert list(tmp_path.iterdir()) == []


def test_what_it_says_about_itself(tmp_path):
    datasets, _ = ct_series()
    source = assemble(datasets)
    geometry = source.volume.geometry
    segments = (
        Segment(1, "Left kidney", color=(200, 30, 40), algorithm="AUTOMATIC", algorithm_name="net 3"),
        Segment(2, "肝臓 " + "x" * 80, algorithm="MANUAL", tracking_uid="1.2.3"),
    )
    mask = Mask((np.ones(geometry.shape, np.uint8),), segments, geometry)
    created = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    options = SegOptions(
        uid("label"),
        uid("label series"),
        series_description="Segmentation final v3",
        instance_number=3,
        content_label="final",
        author="Müller^Änne",
        created=created,
        modified_from=uid("label 2"),
        server_id="ward 7",
        software_version="0.1",
    )
    write_seg(mask, source.headers, tmp_path / "a.dcm", options)
    written = pydicom.dcmread(tmp_path / "a.dcm")
    first = source.headers[0]
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert written[keyword].value == first[keyword].value
    assert (written.SOPInstanceUID, written.SeriesInstanceUID) == (options.sop_instance_uid, options.series_uid)
    assert (written.SeriesDescription, written.InstanceNumber) == ("Segmentation final v3", 3)
    assert str(written.ContentCreatorName) == "Müller^Änne"
    assert written.ContentLabel == "FINAL"
    assert (written.ContentDate, written.ContentTime[:6]) == ("20260102", "030405")
    assert written.TimezoneOffsetFromUTC == "+0000"
    assert written.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == options.modified_from
    assert written.DeviceSerialNumber == "ward 7"
    (referenced,) = written.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == datasets[0].SeriesInstanceUID
    assert {r.ReferencedSOPInstanceUID for r in referenced.ReferencedInstanceSequence} == {
        d.SOPInstanceUID for d in datasets
    }
    kidney, liver = written.SegmentSequence
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"
    assert kidney.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "net 3"
    assert "SegmentationAlgorithmIdentificationSequence" not in liver
    found = read_seg(tmp_path / "a.dcm", geometry).segments
    assert [s.name for s in found] == [s.name for s in segments]
    assert np.allclose(found[0].color, (200, 30, 40), atol=2)
    assert found[1].tracking_uid == "1.2.3"


def test_anonymised_headers_without_type_2_attributes(tmp_path):
    datasets, _ = ct_series()
    for dataset in datasets:
        for keyword in UNNEEDED:
            del dataset[keyword]
    datasets[0].PatientSex = ""
    source = assemble(datasets)
    mask = random_mask(source.volume.geometry, 3)
    write_seg(mask, source.headers, tmp_path / "a.dcm", OPTIONS)
    assert_same_voxels(read_seg(tmp_path / "a.dcm", source.volume.geometry), mask)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("StudyDate", "2024-01-02"), ("StudyTime", "25:99"), ("PatientBirthDate", "unknown"), ("PatientSex", "X")],
)
def test_malformed_headers_do_not_keep_a_label_from_being_stored(tmp_path, keyword, value):
    datasets, _ = ct_series()
    source = assemble(datasets)
    for header in source.headers:
        header[keyword] = RawDataElement(Tag(keyword), header[keyword].VR, 8, value.encode(), 0, False, True)
    mask = random_mask(source.volume.geometry, 3)
    write_seg(mask, source.headers, tmp_path / "a.dcm", OPTIONS)
    assert_same_voxels(read_seg(tmp_path / "a.dcm", source.volume.geometry), mask)
    assert pydicom.dcmread(tmp_path / "a.dcm")[keyword].value in ("", None)


@pytest.mark.parametrize("author", ["anna", "a.b@hospital.org", "X=Y\\Z", "肝 臓", "", "x" * 100])
@pytest.mark.parametrize("label", ["final-v2", "1st", "日本", ""])
def test_any_author_and_label(tmp_path, author, label):
    source = assemble(ct_series((2, 6, 6))[0])
    options = SegOptions(uid("a"), uid("b"), author=author, content_label=label)
    write_seg(random_mask(source.volume.geometry, 1), source.headers, tmp_path / "a.dcm", options)
    written = pydicom.dcmread(tmp_path / "a.dcm")
    assert len(str(written.ContentCreatorName)) <= 64
    if author in ("anna", "肝 臓"):
        assert str(written.ContentCreatorName) == author


def test_headers_in_any_order(tmp_path):
    source = assemble(ct_series()[0])
    mask = random_mask(source.volume.geometry, 3)
    write_seg(mask, source.headers[::-1], tmp_path / "a.dcm", OPTIONS)
    assert_same_voxels(read_seg(tmp_path / "a.dcm", source.volume.geometry), mask)


def test_a_patient_name_in_latin_1_survives(tmp_path):
    datasets, _ = ct_series()
    for dataset in datasets:
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.PatientName = "Müller^Jürgen"
    source = assemble([pydicom.dcmread(pydicom.filebase.DicomBytesIO(encode(d))) for d in datasets])
    write_seg(random_mask(source.volume.geometry, 1), source.headers, tmp_path / "a.dcm", OPTIONS)
    assert str(pydicom.dcmread(tmp_path / "a.dcm").PatientName) == "Müller^Jürgen"


def test_orientations_that_differ_by_rounding(tmp_path):
    datasets, _ = ct_series(orientation="oblique")
    for n, dataset in enumerate(datasets):
        dataset.ImageOrientationPatient = [f"{float(v):.{5 + n % 3}f}" for v in dataset.ImageOrientationPatient]
    source = assemble(datasets)
    mask = random_mask(source.volume.geometry, 3)
    write_seg(mask, source.headers, tmp_path / "a.dcm", OPTIONS)
    assert_same_voxels(read_seg(tmp_path / "a.dcm", source.volume.geometry), mask)


def test_a_series_without_a_frame_of_reference_is_refused(tmp_path):
    datasets, _ = ct_series()
    for dataset in datasets:
        del dataset.FrameOfReferenceUID
    source = assemble(datasets)
    with pytest.raises(BadInput, match="FrameOfReferenceUID"):
        write_seg(random_mask(source.volume.geometry, 1), source.headers, tmp_path / "a.dcm", OPTIONS)


def test_a_mask_of_another_size_is_refused(tmp_path):
    source = assemble(ct_series()[0])
    small = Geometry((2, 3, 4), source.volume.geometry.affine)
    with pytest.raises(GeometryMismatch, match="rows and columns"):
        write_seg(random_mask(small, 1), source.headers, tmp_path / "a.dcm", OPTIONS)


def test_frames_lie_where_the_slices_lie(tmp_path):
    datasets, truth = ct_series(gantry_tilt=15)
    source = assemble(datasets)
    write_seg(random_mask(truth.geometry, 1), source.headers, tmp_path / "a.dcm", OPTIONS)
    frames = pydicom.dcmread(tmp_path / "a.dcm").PerFrameFunctionalGroupsSequence
    slice_of = {header.SOPInstanceUID: k for k, header in enumerate(source.headers)}
    found = set()
    for frame in frames:
        k = slice_of[frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        position = [float(v) for v in frame.PlanePositionSequence[0].ImagePositionPatient]
        assert np.allclose(position, truth.geometry.to_patient((k, 0, 0)), atol=1e-6)
        found.add(k)
    assert found == set(range(1, 9))  # slice 0 is empty


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("drawn", [True, False])
def test_a_segment_without_frames(tmp_path, kind, drawn):
    """Segment 2 is examined and absent; without `drawn` all are, and the frame that there has to be is empty."""
    path = write_absent(tmp_path, kind, drawn)
    told = highdicom.seg.segread(path)
    described = {number: told.get_segment_description(number).segment_label for number in told.segment_numbers}
    assert {name for number, name in described.items() if number} == {"liver", "spleen", "aorta"}
    frames = told.PerFrameFunctionalGroupsSequence
    assert len({tuple(f.PlanePositionSequence[0].ImagePositionPatient) for f in frames}) == (4 if drawn else 1)
    if kind == "binary" and drawn:
        assert {f.SegmentIdentificationSequence[0].ReferencedSegmentNumber for f in frames} == {1, 3}


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is missing")
@pytest.mark.parametrize("drawn", [True, False])
def test_dciodvfy_takes_a_segment_without_frames(tmp_path, drawn):
    path = write_absent(tmp_path, "binary", drawn)
    image, *_ = write_series(ct_series()[0][:1], tmp_path / "source")
    assert errors(path) - errors(image) == set()


@pytest.mark.parametrize("drawn", [True, False])
def test_dcmqi_takes_a_segment_without_frames(tmp_path, drawn):
    dcmqi = pytest.importorskip("dcmqi", reason="the dcmqi wheel, an independent reader, is not installed")
    path = write_absent(tmp_path, "binary", drawn)
    tool = Path(dcmqi.__file__).parent / "bin" / "segimage2itkimage"
    command = [tool, "--inputDICOM", path, "--outputDirectory", tmp_path, "-t", "nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    found = {int(file.stem): int((itk.read(file)[0] > 0).sum()) for file in tmp_path.glob("*.nrrd")}
    assert found == ({1: 48, 2: 0, 3: 48} if drawn else {1: 0, 2: 0, 3: 0})


def write_absent(folder: Path, kind: SegKind, drawn: bool) -> Path:
    source = assemble(ct_series()[0])
    labelmap = np.zeros(source.volume.geometry.shape, np.uint8)
    if drawn:
        labelmap[2:4, 3:9, 4:8], labelmap[4:6, 3:9, 4:8] = 1, 3
    mask = Mask.single(labelmap, ["liver", "spleen", "aorta"], source.volume.geometry)
    options = SegOptions(uid("a"), uid("b"), kind=kind, record={"author": "Änne"})
    write_seg(mask, source.headers, folder / "seg.dcm", options)
    return folder / "seg.dcm"


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is missing")
@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("make", [ct_series, mr_series, pt_series])
def test_dciodvfy_finds_no_error_that_the_source_does_not_have(tmp_path, make, overlapping):
    datasets, _ = make()
    source = assemble(datasets)
    mask = random_mask(source.volume.geometry, 3, overlapping=overlapping)
    write_seg(mask, source.headers, tmp_path / "seg.dcm", OPTIONS)
    image, *_ = write_series(datasets[:1], tmp_path / "source")
    assert errors(tmp_path / "seg.dcm") - errors(image) == set()


def errors(path) -> set[str]:
    told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
    return {line for line in told.splitlines() if line.startswith("Error")}
