"""Exports hold exactly what was labelled, as other programs read it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
from skimage.draw import polygon2mask

from app.core.mask import Mask
from app.core.volume import Volume
from app.dicom.seg_read import read_seg
from app.dicom.series import assemble
from app.durable import file_sha256
from app.errors import ArchiveUnavailable, BadInput, Conflict, SegloopError
from app.learning.dataset import is_validation
from app.project.project import Project
from app.services.exports import ExportOptions, ExportReport, export_labels
from app.services.exports.files import OpenedCase
from app.services.exports.folder import JOURNAL, ExportFolder
from app.services.prompting.log import SessionLog, SessionRecord, Step, Viewer
from tests.dicom import itk
from tests.dicom.synthetic import ct_series, enhanced_series, write_series
from tests.services.exports import site

Labelled = tuple[Project, dict[str, Mask]]
VALUES = {"liver": 1, "spleen": 2, "left kidney": 3, "ignore": 4}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Project]:
    made = site.project(tmp_path / "workspace")
    yield made
    made.close()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labelled]:
    """A project whose cases are all labelled, for tests that only export; and the masks by case id."""
    made = site.project(tmp_path_factory.mktemp("labelled"))
    yield made, site.label_all(made)
    made.close()


def export(opened: Project, folder: Path, format_name: str, **options: Any) -> ExportReport:
    return export_labels(opened, folder, ExportOptions(format_name, **options))


def expected(mask: Mask, ignore: int = 4) -> np.ndarray:
    """What a label map of the mask should be, voxel by voxel: its only layer, by the names' values."""
    (layer,) = mask.layers
    partial = len(mask.segments) < len(site.STRUCTURES)
    answer = np.full(layer.shape, ignore if partial else 0)
    for segment in mask.segments:
        answer[layer == segment.number] = VALUES[segment.name]
    return answer


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != JOURNAL)
    return {str(path.relative_to(folder)): file_sha256(path) for path in files}


@pytest.mark.parametrize(
    ("format_name", "image", "label"),
    [
        ("nnunet", "imagesTr/{}_0000.nii.gz", "labelsTr/{}.nii.gz"),
        ("msd", "imagesTr/{}.nii.gz", "labelsTr/{}.nii.gz"),
        ("nifti", "images/{}.nii.gz", "labels/{}.nii.gz"),
    ],
)
def test_label_maps_beside_their_images(
    labelled: Labelled, tmp_path: Path, format_name: str, image: str, label: str
) -> None:
    opened, masks = labelled
    report = export(opened, tmp_path / "out", format_name)
    for case_id, mask in masks.items():
        if case_id in report.left_out:
            continue
        row = opened.catalog.cases.get(case_id)
        volume = opened.volumes(row.origin).volume(row.case)
        read = {
            kind: nibabel.load(tmp_path / "out" / path.format(case_id))
            for kind, path in (("image", image), ("label", label))
        }
        np.testing.assert_array_equal(np.asarray(read["label"].dataobj).T, expected(mask))
        np.testing.assert_array_equal(np.asarray(read["image"].dataobj).T, volume.voxels)
        np.testing.assert_array_equal(read["image"].affine, read["label"].affine)
        ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.geometry.affine
        np.testing.assert_allclose(read["label"].affine, ras, rtol=0, atol=1e-4)
        direction = volume.geometry.direction
        if np.allclose(direction.T @ direction, np.eye(3)):
            voxels, geometry = itk.read(tmp_path / "out" / label.format(case_id))
            np.testing.assert_array_equal(voxels, expected(mask))
            assert volume.geometry.difference(geometry, 5e-3) is None
    tilted = [case_id for case_id, why in report.left_out.items() if "tilted" in why]
    assert len(tilted) == len(report.left_out) == (1 if format_name == "nnunet" else 0)


def test_nnunet_finds_no_fault(labelled: Labelled, tmp_path: Path) -> None:
    opened, _ = labelled
    out = tmp_path / "Dataset501_Abdomen"
    report = export(opened, out, "nnunet", modality="CT")
    described = json.loads((out / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, **VALUES}
    assert described["numTraining"] == report.cases == 6
    assert described["channel_names"] == {"0": "image"}, "CT and MR"
    assert any("several modalities" in note for note in report.notes)
    verify = pytest.importorskip("nnunetv2.experiment_planning.verify_dataset_integrity", exc_type=ImportError)
    read = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer").SimpleITKIO
    values = list(described["labels"].values())
    found = {file.name.removesuffix(".nii.gz") for file in (out / "labelsTr").iterdir()}
    assert len(found) == 6
    for name in found:
        image, label = out / f"imagesTr/{name}_0000.nii.gz", out / f"labelsTr/{name}.nii.gz"
        assert verify.verify_labels(str(label), read, values)
        assert verify.check_cases([str(image)], str(label), 1, read)


@pytest.mark.long
def test_nnunet_s_own_integrity_check(labelled: Labelled, tmp_path: Path) -> None:
    """The whole of it, which starts processes."""
    verify = pytest.importorskip("nnunetv2.experiment_planning.verify_dataset_integrity", exc_type=ImportError)
    opened, _ = labelled
    export(opened, tmp_path / "Dataset501_Abdomen", "nnunet", modality="CT")
    verify.verify_dataset_integrity(str(tmp_path / "Dataset501_Abdomen"), num_processes=1)


def test_the_gate_s_patients_are_the_validation_set(opened: Project, tmp_path: Path) -> None:
    site.label_all(opened)
    keys = {row.case.id: row.case.patient_key for row in opened.catalog.cases.all()}
    free = [case_id for case_id, key in keys.items() if not is_validation(key, 5)]
    opened.catalog.reservations.add([keys[free[0]]])
    export(opened, tmp_path / "n", "nnunet")
    (split,) = json.loads((tmp_path / "n/splits_final.json").read_text())
    assert free[0] in split["val"]
    assert set(split["train"]) <= set(free[1:])
    left_out = json.loads((tmp_path / "n/manifest.json").read_text())["left_out"]
    assert set(split["train"]) | set(split["val"]) == set(keys) - set(left_out)
    export(opened, tmp_path / "m", "msd")
    described = json.loads((tmp_path / "m/dataset.json").read_text())
    assert {one["label"] for one in described["validation"]} >= {f"./labelsTr/{free[0]}.nii.gz"}
    assert described["numTraining"] == len(described["training"])


def test_whole_labels_have_no_ignore_value(opened: Project, tmp_path: Path) -> None:
    for row in opened.catalog.cases.all()[:2]:
        site.submit(opened, row.case.id, site.whole(site.geometry_of(opened, row.case.id)))
    export(opened, tmp_path / "out", "nnunet")
    labels = json.loads((tmp_path / "out/dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "liver": 1, "spleen": 2, "left kidney": 3}


def test_structures_that_nobody_examined_are_none(opened: Project, tmp_path: Path) -> None:
    """Otherwise every voxel outside of the others would be ignored, and nothing could be learnt."""
    site.submit(opened, "oblique", site.partial(site.GRIDS["oblique"]))
    export(opened, tmp_path / "out", "nnunet")
    described = json.loads((tmp_path / "out/dataset.json").read_text())
    assert described["labels"] == {"background": 0, "spleen": 1}


def test_chosen_structures_in_their_order(labelled: Labelled, tmp_path: Path) -> None:
    opened, masks = labelled
    report = export(opened, tmp_path / "out", "nifti", structures=("spleen", "liver"))
    assert report.left_out == {}
    for case_id, mask in masks.items():
        voxels = np.asarray(nibabel.load(tmp_path / f"out/labels/{case_id}.nii.gz").dataobj).T
        by_name = {segment.name: mask.voxels_of(segment.number) for segment in mask.segments}
        np.testing.assert_array_equal(voxels == 1, by_name["spleen"])
        if "liver" in by_name:
            np.testing.assert_array_equal(voxels == 2, by_name["liver"])
            assert voxels.max() == 2
        else:
            assert (voxels[~by_name["spleen"]] == 3).all()
    with pytest.raises(BadInput, match="says anything of pancreas"):
        export(opened, tmp_path / "other", "nifti", structures=("pancreas",))
    report = export(opened, tmp_path / "livers", "nifti", structures=("liver",))
    assert set(report.left_out) == {case_id for case_id, mask in masks.items() if len(mask.segments) == 1}


def test_overlaps(opened: Project, tmp_path: Path) -> None:
    mask = site.overlapping(site.GRIDS["oblique"])
    site.submit(opened, "oblique", mask)
    site.submit(opened, "sagittal", site.whole(site.GRIDS["sagittal"]))
    report = export(opened, tmp_path / "refused", "nifti")
    assert "spleen overlaps liver" in report.left_out["oblique"]
    assert "--overlaps order" in report.left_out["oblique"]
    assert not list((tmp_path / "refused").rglob("oblique*"))
    export(opened, tmp_path / "ordered", "nifti", overlaps="order")
    voxels = np.asarray(nibabel.load(tmp_path / "ordered/labels/oblique.nii.gz").dataobj).T
    np.testing.assert_array_equal(voxels == 2, mask.voxels_of(2))
    np.testing.assert_array_equal(voxels == 1, mask.voxels_of(1) & ~mask.voxels_of(2))
    export(opened, tmp_path / "one", "nifti", structures=("liver",))
    voxels = np.asarray(nibabel.load(tmp_path / "one/labels/oblique.nii.gz").dataobj).T
    np.testing.assert_array_equal(voxels == 1, mask.voxels_of(1))


def test_nrrd_segmentations(opened: Project, tmp_path: Path) -> None:
    masks = site.label_all(opened)
    masks["oblique"] = site.overlapping(site.GRIDS["oblique"])
    site.submit(opened, "oblique", masks["oblique"])
    assert export(opened, tmp_path / "out", "nrrd").left_out == {}
    for case_id, mask in masks.items():
        data, header = nrrd.read(str(tmp_path / f"out/labels/{case_id}.seg.nrrd"))
        for n, segment in enumerate(mask.segments):
            assert header[f"Segment{n}_Name"] == segment.name
            layer = data[int(header[f"Segment{n}_Layer"])] if data.ndim == 4 else data
            np.testing.assert_array_equal(
                np.equal(layer.T, int(header[f"Segment{n}_LabelValue"])), mask.voxels_of(n + 1)
            )
        assert f"Segment{len(mask.segments)}_Name" not in header
        np.testing.assert_array_equal(header["space directions"][-3:], mask.geometry.affine[:3, :3].T)
        np.testing.assert_array_equal(header["space origin"], mask.geometry.affine[:3, 3])
        row = opened.catalog.cases.get(case_id)
        voxels, image = nrrd.read(str(tmp_path / f"out/images/{case_id}.nrrd"))
        np.testing.assert_array_equal(voxels.T, opened.volumes(row.origin).volume(row.case).voxels)
        np.testing.assert_array_equal(image["space directions"], mask.geometry.affine[:3, :3].T)


def test_dicom_seg_is_the_stored_file(labelled: Labelled, tmp_path: Path) -> None:
    opened, masks = labelled
    report = export(opened, tmp_path / "out", "seg")
    assert set(report.left_out) == set(site.GRIDS), "volume files"
    for row in opened.catalog.cases.all():
        if row.case.kind == "series":
            file = tmp_path / f"out/labels/{row.case.id}.dcm"
            assert file_sha256(file) == opened.catalog.labels.newest(row.case.id, "final").sha256
            assert [s.name for s in read_seg(file).segments] == [s.name for s in masks[row.case.id].segments]
    with pytest.raises(BadInput, match="--structures"):
        export(opened, tmp_path / "other", "seg", structures=("liver",))


SERIES = {
    "axial": lambda: ct_series(site.SHAPE, spacing=(0.8, 0.8, 2.5))[0],
    "oblique, reversed": lambda: ct_series(site.SHAPE, orientation="oblique", reversed=True, spacing=(1.3, 1.3, 0.9))[
        0
    ],
    "anisotropic": lambda: ct_series(site.SHAPE, orientation="sagittal", spacing=(2.5, 0.4, 1.1))[0],
    "tilted": lambda: ct_series(site.SHAPE, gantry_tilt=15)[0],
}


@pytest.mark.parametrize("name", SERIES)
def test_structure_sets_hold_the_same_voxels(tmp_path: Path, name: str) -> None:
    """Each outline is rasterized by scikit-image, in the frame of the image it refers to."""
    series = SERIES[name]()
    held = site.archive()
    case = held.add_series(series)
    opened = site.project(tmp_path / "workspace", held)
    mask = site.overlapping(site.geometry_of(opened, case.id))
    site.submit(opened, case.id, mask)
    export(opened, tmp_path / "out", "rtstruct")
    opened.close()
    written = pydicom.dcmread(tmp_path / f"out/labels/{case.id}.dcm")
    images = {str(image.SOPInstanceUID): image for image in series}
    order = {str(h.SOPInstanceUID): k for k, h in enumerate(assemble(series).headers)}
    for segment, region in zip(mask.segments, written.ROIContourSequence, strict=True):
        found = np.zeros(site.SHAPE, bool)
        for contour in region.ContourSequence:
            image = images[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            points = np.reshape(np.array(contour.ContourData, float), (-1, 3)) - np.array(image.ImagePositionPatient)
            along_row, along_column = np.reshape(np.array(image.ImageOrientationPatient, float), (2, 3))
            row_spacing, column_spacing = map(float, image.PixelSpacing)  # between rows, between columns
            polygon = np.stack([points @ along_column / row_spacing, points @ along_row / column_spacing], axis=1)
            plane = found[order[str(image.SOPInstanceUID)]]
            plane |= polygon2mask(plane.shape, polygon)
        np.testing.assert_array_equal(found, mask.voxels_of(segment.number))
    if name == "axial" or name.startswith("oblique"):
        _read_by_rt_utils(series, tmp_path, mask, case.id)


def _read_by_rt_utils(series: list[pydicom.Dataset], folder: Path, mask: Mask, case_id: str) -> None:
    """Only images with square pixels and as many rows as columns: rt-utils 1.2.7 swaps both."""
    rt_utils = pytest.importorskip("rt_utils", reason="rt-utils, an independent reader, is not installed")
    write_series(series, folder / "series")
    read = rt_utils.RTStructBuilder.create_from(str(folder / "series"), str(folder / f"out/labels/{case_id}.dcm"))
    assert read.get_roi_names() == [segment.name for segment in mask.segments]
    for segment in mask.segments:
        voxels = read.get_roi_mask_by_name(segment.name)  # rows, columns, slices along row x column, as ours
        np.testing.assert_array_equal(np.moveaxis(voxels, 2, 0), mask.voxels_of(segment.number))


def test_a_structure_set_refers_to_its_images(tmp_path: Path) -> None:
    frames = enhanced_series(site.SHAPE, reversed=True)[0]
    held = site.archive()
    single, multi = held.add_series(ct_series(site.SHAPE, seed=9)[0]), held.add_series([frames])
    opened = site.project(tmp_path / "workspace", held)
    for case in (single, multi):
        site.submit(opened, case.id, site.whole(site.geometry_of(opened, case.id)))
    export(opened, tmp_path / "out", "rtstruct")
    for case in (single, multi):
        row = opened.catalog.cases.get(case.id)
        headers = opened.volumes(row.origin).headers(row.case)
        written = pydicom.dcmread(tmp_path / f"out/labels/{case.id}.dcm")
        assert written.PatientID == headers[0].PatientID
        assert written.StudyInstanceUID == case.study_uid
        assert [str(one.ROIName) for one in written.StructureSetROISequence] == ["liver", "spleen", "left kidney"]
        kidney = written.ROIContourSequence[2]
        assert "ContourSequence" not in kidney, "absent"
        assert list(written.ROIContourSequence[0].ROIDisplayColor) == [200, 100, 50]
        assert written.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence[0].CodeValue == "10200004"
        places = {str(h.SOPInstanceUID): h for h in headers}
        for contour in written.ROIContourSequence[0].ContourSequence:
            (image,) = contour.ContourImageSequence
            header = places[image.ReferencedSOPInstanceUID]
            if "PerFrameFunctionalGroupsSequence" in header:
                frame = header.PerFrameFunctionalGroupsSequence[image.ReferencedFrameNumber - 1]
                position = frame.PlanePositionSequence[0].ImagePositionPatient
            else:
                position = header.ImagePositionPatient
            assert abs(float(contour.ContourData[2]) - float(position[2])) < 1e-3
    opened.close()


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is missing")
def test_dciodvfy_finds_no_error_in_a_structure_set(labelled: Labelled, tmp_path: Path) -> None:
    opened, _ = labelled
    export(opened, tmp_path / "out", "rtstruct")
    (image, *_) = write_series(ct_series(site.SHAPE, patient=1)[0][:1], tmp_path / "source")
    known = _errors(image)
    for file in (tmp_path / "out/labels").iterdir():
        assert _errors(file) - known == set()


def _errors(path: Path) -> set[str]:
    told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
    return {line for line in told.splitlines() if line.startswith("Error")}


def test_bids(labelled: Labelled, tmp_path: Path) -> None:
    opened, masks = labelled
    report = export(opened, tmp_path / "out", "bids", modality="MR", bids_suffix="T2w")
    assert report.left_out == {}
    assert any("outside the BIDS standard" in note for note in report.notes)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    for case in manifest["cases"]:
        label, sidecar, image = case["files"]
        voxels = np.asarray(nibabel.load(tmp_path / "out" / label).dataobj).T
        np.testing.assert_array_equal(voxels, expected(masks[case["case_id"]]))
        assert json.loads((tmp_path / "out" / sidecar).read_text())["States"] == case["states"]
        assert image.endswith("_ct.nii.gz" if case["modality"] == "CT" else "_T2w.nii.gz")
    table = (tmp_path / "out/derivatives/segloop/dseg.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in table[1:]] == [
        ["0", "background"],
        *([str(v), n] for n, v in VALUES.items()),
    ]


def test_bids_never_guesses_what_an_image_is(labelled: Labelled, tmp_path: Path) -> None:
    opened, _ = labelled
    report = export(opened, tmp_path / "out", "bids")
    assert set(report.left_out) == set(site.GRIDS)
    assert all("--modality" in why for why in report.left_out.values())
    assert len(list((tmp_path / "out").glob("sub-*/anat/*_T1w.nii.gz"))) == 1, "as its description says"
    report = export(opened, tmp_path / "other", "bids", modality="MR")
    assert all("--bids-suffix" in why for why in report.left_out.values())


@pytest.mark.skipif(shutil.which("bids-validator") is None, reason="bids-validator (npm) is missing")
def test_the_bids_validator_finds_no_error(labelled: Labelled, tmp_path: Path) -> None:
    opened, _ = labelled
    export(opened, tmp_path / "out", "bids", modality="MR", bids_suffix="T1w")
    told = subprocess.run(["bids-validator", "--json", tmp_path / "out"], capture_output=True, text=True, check=False)
    assert json.loads(told.stdout)["issues"]["errors"] == []


def test_the_table(opened: Project, tmp_path: Path) -> None:
    geometry = site.GRIDS["sagittal"]
    mask = site.whole(geometry)
    mask.layers[0][:] = 0
    mask.layers[0][1:3, 4:9, 10] = 1
    site.submit(opened, "sagittal", mask)
    site.submit(opened, "oblique", site.partial(site.GRIDS["oblique"]))
    export(opened, tmp_path / "out", "csv")
    rows = {(r["case"], r["structure"]): r for r in csv.DictReader((tmp_path / "out/labels.csv").open())}
    liver = rows["sagittal", "liver"]
    values = opened.volumes("archive").volume(opened.catalog.cases.get("sagittal").case).voxels[1:3, 4:9, 10]
    assert (liver["state"], liver["voxels"], liver["code"]) == ("segmented", "10", "SCT 10200004")
    assert float(liver["volume_ml"]) == pytest.approx(10 * 1.5 * 0.5 * 3.0 / 1000)
    assert [float(liver[f"extent_{axis}_mm"]) for axis in "ijk"] == pytest.approx([1.5, 2.5, 6.0])
    assert [(int(liver[f"first_{axis}"]), int(liver[f"last_{axis}"])) for axis in "ijk"] == [(10, 10), (4, 8), (1, 2)]
    assert float(liver["mean"]) == pytest.approx(values.mean(), abs=1e-4)
    assert float(liver["deviation"]) == pytest.approx(values.std(), abs=1e-4)
    assert (float(liver["minimum"]), float(liver["maximum"])) == (values.min(), values.max())
    assert float(liver["median"]) == pytest.approx(np.median(values), abs=1e-4)
    absent, unknown = rows["sagittal", "left kidney"], rows["oblique", "left kidney"]
    assert (absent["state"], absent["voxels"], absent["mean"]) == ("absent", "0", "")
    assert (unknown["state"], unknown["voxels"], unknown["volume_ml"]) == ("not_examined", "", "")
    assert (liver["prompts"], liver["minutes"]) == ("", "")


def test_what_a_label_cost(opened: Project, tmp_path: Path) -> None:
    log = SessionLog(opened.paths.sessions)

    def session(name: str, who: str, prompts: int) -> None:
        opened_at, viewer = time.time() - 90, Viewer("test", who)
        record = SessionRecord(name, "owner", "oblique", "clicks", "", {}, viewer, site.SHAPE, True, opened_at)
        log.create(record)
        log.append(name, Step("undo"))
        with (opened.paths.sessions / record.name / "log.jsonl").open("a") as stream:
            stream.write('{"step": "add"}\n' * prompts + '{"step": "ad')

    session("one", "ann", 3)
    session("two", "ann", 2)
    session("other", "bo", 7)
    site.submit(opened, "oblique", site.whole(site.GRIDS["oblique"]))
    export(opened, tmp_path / "out", "csv")
    rows = list(csv.DictReader((tmp_path / "out/labels.csv").open()))
    assert {row["prompts"] for row in rows} == {"5"}
    assert {row["minutes"] for row in rows} == {"3.0"}


@pytest.mark.parametrize("format_name", ["nnunet", "rtstruct", "bids"])
def test_the_same_labels_give_the_same_bytes(labelled: Labelled, tmp_path: Path, format_name: str) -> None:
    opened, _ = labelled
    first = export(opened, tmp_path / "a", format_name)
    export(opened, tmp_path / "b", format_name)
    made = digests(tmp_path / "a")
    assert made == digests(tmp_path / "b")
    again = export(opened, tmp_path / "a", format_name)
    assert (again.written, again.kept) == (0, first.written)
    assert digests(tmp_path / "a") == made


def test_an_interrupted_export_goes_on(opened: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.label_all(opened)
    export(opened, tmp_path / "whole", "nifti")
    read: list[str] = []
    real = OpenedCase.volume.func

    def counted(case: OpenedCase) -> Volume:
        read.append(case.case.name)
        if len(read) == 4:
            raise ArchiveUnavailable("pulled")
        return real(case)

    # A cached property hides its function from a plain replacement.
    monkeypatch.setattr(OpenedCase, "volume", property(counted))
    with pytest.raises(ArchiveUnavailable):
        export(opened, tmp_path / "out", "nifti")
    (tmp_path / "out/labels/.writing-left.nii.gz").write_bytes(b"half")
    left = len(list((tmp_path / "out").rglob("*.nii.gz"))) - 1
    assert left > 0
    monkeypatch.undo()
    report = export(opened, tmp_path / "out", "nifti")
    assert report.kept == left
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_a_later_export_follows_the_labels(opened: Project, tmp_path: Path) -> None:
    site.label_all(opened)
    export(opened, tmp_path / "out", "nifti")
    (tmp_path / "out/notes.txt").write_text("mine")
    site.submit(opened, "oblique", site.whole(site.GRIDS["oblique"], seed=77))
    opened.catalog.labels.delete("sagittal", "final", "ann")
    (tmp_path / "out/labels/reversed.nii.gz").write_bytes(b"damaged")
    report = export(opened, tmp_path / "out", "nifti")
    assert (report.written, report.removed) == (3, 2), "a new label, a damaged one and the manifest"
    assert (tmp_path / "out/notes.txt").read_text() == "mine"
    (tmp_path / "out/notes.txt").unlink()
    export(opened, tmp_path / "fresh", "nifti")
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh")


def test_what_cannot_be_read_is_left_out_and_said(opened: Project, tmp_path: Path) -> None:
    site.label_all(opened)
    label = opened.catalog.labels.newest("oblique", "final")
    opened.labels.path(label).write_bytes(b"damaged")
    report = export(opened, tmp_path / "out", "nnunet")
    assert "damaged or lost" in report.left_out["oblique"]
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["left_out"] == report.left_out
    assert json.loads((tmp_path / "out/dataset.json").read_text())["numTraining"] == report.cases == 5


def test_an_image_with_nan_is_refused_for_nnunet(tmp_path: Path) -> None:
    held = site.archive()
    voxels = np.zeros(site.SHAPE, np.float32)
    voxels[0, 0, 0] = np.nan
    held.add_volume("holes", Volume(voxels, site.GRIDS["oblique"]))
    opened = site.project(tmp_path / "workspace", held)
    site.submit(opened, "holes", site.whole(site.GRIDS["oblique"]))
    assert "finite" in export(opened, tmp_path / "out", "nnunet").left_out["holes"]
    assert not list((tmp_path / "out").rglob("*.nii.gz")), "nor its label"
    assert export(opened, tmp_path / "nifti", "nifti").left_out == {}
    opened.close()


def test_the_manifest_says_where_a_label_comes_from(opened: Project, tmp_path: Path) -> None:
    site.label_all(opened)
    site.submit(opened, "oblique", site.whole(site.GRIDS["oblique"], 5), tag="second reading", author="Zoë")
    export(opened, tmp_path / "out", "nifti", tag="second reading")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    (case,) = manifest["cases"]
    assert (case["case_id"], case["label"]["author"], case["label"]["version"]) == ("oblique", "Zoë", 1)
    assert case["states"] == {"liver": "segmented", "spleen": "segmented", "left kidney": "absent"}
    liver = manifest["structures"][0]
    assert (liver["value"], liver["type"]["value"], liver["color"]) == (1, "10200004", [200, 100, 50])
    assert manifest["files"] == {
        name: digest for name, digest in digests(tmp_path / "out").items() if name != "manifest.json"
    }


def test_folders_that_are_something_else(opened: Project, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no case has a label"):
        export(opened, tmp_path / "out", "nifti")
    site.label_all(opened)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    with pytest.raises(BadInput, match="isn't empty"):
        export(opened, tmp_path / "mine", "nifti")
    export(opened, tmp_path / "out", "nifti")
    with pytest.raises(BadInput, match="an export as nifti"):
        export(opened, tmp_path / "out", "msd")
    with ExportFolder.opened(tmp_path / "out", "nifti"), pytest.raises(Conflict):
        export(opened, tmp_path / "out", "nifti")
    with pytest.raises(SegloopError, match="no format 'jpeg'"):
        export(opened, tmp_path / "jpeg", "jpeg")
