"""Phantoms are real DICOM: valid, the same every time, and their truth lies where another reader sees the organs."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from scipy import ndimage

from app.demo.anatomy import PHASES, STRUCTURES
from app.demo.phantoms import Truth, read_truth, write_studies
from app.demo.plan import Study, planned

PATIENTS = 3


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, list[Study]]:
    folder = tmp_path_factory.mktemp("phantoms")
    return folder, write_studies(folder / "studies", folder / "truth", PATIENTS, seed=5)


def _truth(folder: Path, study: Study) -> Truth:
    truth = read_truth(folder / "truth", study.series_uid)
    assert truth is not None
    return truth


def _read_with_itk(folder: Path, study: Study) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "studies" / study.folder_name), study.series_uid))
    return reader.Execute()


def test_the_plan_has_follow_ups_a_reversed_and_an_oblique_series():
    studies = planned(8, seed=0)
    assert len(studies) == 11
    assert len({study.patient_id for study in studies}) == 8
    assert sum(study.reversed for study in studies) == 1
    assert sum(study.oblique for study in studies) == 1
    assert {study.phase for study in studies} == set(PHASES)
    assert len({study.series_uid for study in studies}) == 11


def test_same_patients_and_seed_give_the_same_bytes(written, tmp_path):
    folder, _ = written
    write_studies(tmp_path / "studies", tmp_path / "truth", 1, seed=5)
    for file in sorted((tmp_path / "studies").rglob("*.dcm")):
        twin = folder / file.relative_to(tmp_path)
        assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(twin.read_bytes()).digest()


def test_another_seed_gives_other_patients_under_other_uids(written):
    _, studies = written
    others = planned(PATIENTS, seed=6)
    assert {one.series_uid for one in studies}.isdisjoint(one.series_uid for one in others)
    assert {one.patient_id for one in studies}.isdisjoint(one.patient_id for one in others)


def test_writing_again_leaves_what_is_there_and_mends_what_is_not(written, tmp_path):
    folder, _ = written
    shutil.copytree(folder, tmp_path / "copy")
    files = sorted((tmp_path / "copy" / "studies").rglob("*.dcm"))
    before = files[-1].stat().st_mtime_ns
    files[0].unlink()
    write_studies(tmp_path / "copy" / "studies", tmp_path / "copy" / "truth", PATIENTS, seed=5)
    assert files[0].is_file()
    assert files[-1].stat().st_mtime_ns == before


def test_every_instance_is_valid_dicom(written):
    dciodvfy = shutil.which("dciodvfy")
    if dciodvfy is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    folder, studies = written
    for study in studies:
        for file in sorted((folder / "studies" / study.folder_name).glob("*.dcm"))[::13]:
            said = subprocess.run([dciodvfy, str(file)], capture_output=True, text=True, check=False).stderr
            assert said.split() == ["CTImage"], f"{file.name}: {said}"


def test_instances_of_a_series_belong_together(written):
    folder, studies = written
    for study in studies:
        files = sorted((folder / "studies" / study.folder_name).glob("*.dcm"))
        headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
        assert len({header.SOPInstanceUID for header in headers}) == study.geometry.shape[0]
        assert {header.SeriesInstanceUID for header in headers} == {study.series_uid}
        heights = [float(header.ImagePositionPatient[2]) for header in headers]
        assert heights == sorted(heights, reverse=study.reversed)


def test_the_truth_lies_where_another_reader_sees_the_organs(written):
    folder, studies = written
    for study in studies:
        image = _read_with_itk(folder, study)
        truth = _truth(folder, study)
        hu = sitk.GetArrayFromImage(image)
        assert hu.shape == truth.labelmap.shape
        for name in STRUCTURES:
            voxels = truth.voxels_of(name)
            inside = hu[ndimage.binary_erosion(voxels)].mean()
            around = hu[ndimage.binary_dilation(voxels, iterations=2) & ~ndimage.binary_dilation(voxels)].mean()
            assert inside == pytest.approx(PHASES[study.phase][name], abs=12)
            assert inside - around > 2.5 * study.noise, f"{name} of {study.description}"


def test_the_truth_has_the_series_geometry(written):
    folder, studies = written
    for study in studies:
        image, geometry = _read_with_itk(folder, study), _truth(folder, study).geometry
        for k, j, i in ((0, 0, 0), (7, 40, 60), tuple(n - 1 for n in geometry.shape)):
            seen = image.TransformIndexToPhysicalPoint((i, j, k))
            assert np.linalg.norm(np.subtract(seen, geometry.to_patient((k, j, i)))) < 0.05


def test_every_structure_is_one_piece_and_touches_no_other(written):
    folder, studies = written
    for study in studies:
        truth = _truth(folder, study)
        for value, name in enumerate(STRUCTURES, start=1):
            voxels = truth.voxels_of(name)
            assert ndimage.label(voxels)[1] == 1
            assert voxels.sum() > 800
            assert set(np.unique(truth.labelmap[ndimage.binary_dilation(voxels)])) == {0, value}


def test_a_series_that_is_no_phantom_has_no_truth(written):
    folder, _ = written
    assert read_truth(folder / "truth", "1.2.3") is None
    assert read_truth(folder / "truth", "../truth/x") is None
