"""Images and labels, from the files that people have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.core.volume import Geometry, Volume
from app.errors import BadFile, GeometryMismatch
from app.formats.volume_files import write_nifti
from app.simulation.cases import read_cases

LABELS = np.zeros((4, 5, 6), np.uint8)
LABELS[1:3, 1:4, 2:5] = 3
LABELS[0, 0, :2] = 7
GRID = Geometry((4, 5, 6), np.diag([0.5, 0.6, 2.0, 1.0]))


def pair(folder: Path, image: str, labels: str, geometry: Geometry = GRID) -> None:
    for name, voxels, grid in ((image, np.arange(120).reshape(4, 5, 6), GRID), (labels, LABELS, geometry)):
        (folder / name).parent.mkdir(exist_ok=True)
        write_nifti(folder / name, Volume(voxels.astype(np.int16), grid), compress=name.endswith(".gz"))


def test_folders_are_matched_by_name(tmp_path: Path) -> None:
    pair(tmp_path, "images/b_0000.nii.gz", "labels/b.nii.gz")
    pair(tmp_path, "images/a.nii", "labels/a.nii.gz")
    cases = list(read_cases(tmp_path / "images", tmp_path / "labels"))
    assert [case.name for case in cases] == ["a", "b"]
    np.testing.assert_array_equal(cases[1].labels, LABELS)
    assert cases[1].volume.voxels[3, 4, 5] == 119
    assert cases[0].structures(1) == [3, 7]
    assert cases[0].structures(18) == [3]


def test_two_files_may_be_named_as_they_like(tmp_path: Path) -> None:
    pair(tmp_path, "ct.nii.gz", "organs.nii.gz")
    (case,) = read_cases(tmp_path / "ct.nii.gz", tmp_path / "organs.nii.gz")
    assert case.name == "ct"
    np.testing.assert_allclose(case.volume.geometry.spacing, (0.5, 0.6, 2.0), rtol=1e-6)


def test_labels_that_fit_no_image_are_refused(tmp_path: Path) -> None:
    pair(tmp_path, "images/a.nii", "labels/b.nii")
    with pytest.raises(BadFile, match="no labels for a"):
        list(read_cases(tmp_path / "images", tmp_path / "labels"))
    pair(tmp_path, "images/a.nii", "labels/a.nii", Geometry((4, 5, 6), np.diag([0.5, 0.6, 2.5, 1.0])))
    with pytest.raises(GeometryMismatch, match="grid of"):
        list(read_cases(tmp_path / "images", tmp_path / "labels"))
    with pytest.raises(BadFile, match="no images"):
        list(read_cases(tmp_path / "nowhere", None))


def test_the_challenges_npz(tmp_path: Path) -> None:
    image = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    np.savez_compressed(tmp_path / "case1.npz", imgs=image, gts=LABELS, spacing=np.array([2.0, 0.6, 0.5]))
    (case,) = read_cases(tmp_path, None)
    assert case.name == "case1"
    np.testing.assert_array_equal(case.labels, LABELS)
    assert case.volume.geometry.spacing == (0.5, 0.6, 2.0)


def test_the_challenges_npz_with_labels_apart_and_boxes_as_pickles(tmp_path: Path) -> None:
    (tmp_path / "gts").mkdir()
    boxes = np.array([{"z_min": 1}], dtype=object)
    np.savez_compressed(tmp_path / "a.npz", imgs=LABELS + 1, spacing=np.ones(3), boxes=boxes)
    np.savez_compressed(tmp_path / "gts" / "a.npz", gts=LABELS)
    (case,) = read_cases(tmp_path / "a.npz", tmp_path / "gts" / "a.npz")
    assert case.structures(1) == [3, 7]
    np.savez_compressed(tmp_path / "a.npz", imgs=boxes, spacing=np.ones(3))
    with pytest.raises(BadFile, match="imgs"):
        list(read_cases(tmp_path / "a.npz", tmp_path / "gts" / "a.npz"))
