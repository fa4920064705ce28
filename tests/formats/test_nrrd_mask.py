"""SimpleITK reads back the same voxels in the same place."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.volume import Geometry
from app.formats.nrrd import nrrd_header
from app.formats.slicewise_gzip import SlicewiseGzip

turn = st.floats(-3.2, 3.2, allow_nan=False)


def rotation(x: float, y: float, z: float) -> np.ndarray:
    cx, sx, cy, sy, cz, sz = np.cos(x), np.sin(x), np.cos(y), np.sin(y), np.cos(z), np.sin(z)
    return (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    )


def geometry(turns: tuple[float, float, float], reversed_slices: bool = False) -> Geometry:
    step = np.array([0.7, 0.9, -2.5 if reversed_slices else 2.5])
    affine = np.eye(4)
    affine[:3, :3] = rotation(*turns) * step
    affine[:3, 3] = (-123.456789012345, 1 / 3, 1e-7)
    return Geometry((4, 5, 7), affine)


def read_back(path, content: bytes, expected: Geometry) -> np.ndarray:
    path.write_bytes(content)
    image = sitk.ReadImage(str(path))
    found = Geometry.from_itk(expected.shape, image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    np.testing.assert_array_equal(found.affine[:3, 3], expected.affine[:3, 3])
    np.testing.assert_allclose(found.affine, expected.affine, rtol=0, atol=1e-14)
    return sitk.GetArrayFromImage(image)


@pytest.mark.parametrize(("encoding", "dtype"), [("raw", np.uint8), ("raw", np.uint16), ("gzip", np.uint8)])
@pytest.mark.parametrize("reversed_slices", [False, True])
def test_simpleitk_reads_oblique_and_reversed(tmp_path, encoding, dtype, reversed_slices):
    grid = geometry((0.3, -0.5, 1.1), reversed_slices)
    voxels = np.random.default_rng(0).integers(0, 3, grid.shape).astype(dtype)
    data = voxels.tobytes() if encoding == "raw" else SlicewiseGzip(voxels).gzip()
    found = read_back(tmp_path / "mask.nrrd", nrrd_header(grid, dtype, encoding) + data, grid)
    np.testing.assert_array_equal(found, voxels)
    assert found.dtype == dtype


@given(st.tuples(turn, turn, turn))
@settings(max_examples=25, deadline=None)
def test_any_direction_survives(tmp_path_factory, turns):
    grid = geometry(turns)
    voxels = np.arange(grid.voxel_count, dtype=np.uint8).reshape(grid.shape)
    path = tmp_path_factory.mktemp("nrrd") / "mask.nrrd"
    found = read_back(path, nrrd_header(grid) + voxels.tobytes(), grid)
    np.testing.assert_array_equal(found, voxels)
