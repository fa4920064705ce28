from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from app.demo.client import from_nifti, to_nifti
from app.demo.plan import planned


def test_round_trip_on_an_oblique_grid_keeps_voxels_and_places():
    geometry = planned(3, seed=1)[-1].geometry
    voxels = np.random.default_rng(0).integers(0, 4, geometry.shape, dtype=np.uint8)
    back = from_nifti(to_nifti(voxels, geometry))
    assert np.array_equal(back.voxels, voxels)
    assert geometry.difference(back.geometry) is None


def test_another_reader_sees_the_same(tmp_path):
    geometry = planned(3, seed=1)[-1].geometry
    voxels = np.zeros(geometry.shape, np.uint8)
    voxels[3, 5, 7] = 2
    file = tmp_path / "label.nii.gz"
    file.write_bytes(to_nifti(voxels, geometry))
    image = sitk.ReadImage(str(file))
    assert image[7, 5, 3] == 2
    seen = image.TransformIndexToPhysicalPoint((7, 5, 3))
    assert np.linalg.norm(np.subtract(seen, geometry.to_patient((3, 5, 7)))) < 1e-3


def test_the_same_voxels_are_the_same_file():
    geometry = planned(1, seed=1)[0].geometry
    voxels = np.ones(geometry.shape, np.uint8)
    assert to_nifti(voxels, geometry) == to_nifti(voxels, geometry)
