"""A grid seen along other axes, compared with ITK's orientation filter."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.volume import Geometry
from app.formats.grids import view_towards
from tests.dicom import itk

CODES = [a + b + c for a in "LR" for b in "PA" for c in "IS"]
CODES += [code[1] + code[0] + code[2] for code in CODES] + [code[2] + code[0] + code[1] for code in CODES]


@settings(max_examples=80, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    turn=st.integers(0, 2**31),
    mirrored=st.booleans(),
    code=st.sampled_from(CODES),
)
def test_turned_as_itk_turns(shape, spacing, turn, mirrored, code):
    draw = np.random.default_rng(turn)
    direction, _ = np.linalg.qr(draw.normal(size=(3, 3)))
    if mirrored:
        direction[:, 0] *= -1
    voxels = draw.integers(0, 1000, shape, dtype=np.int16)
    geometry = Geometry.from_itk(shape, spacing, draw.normal(0, 100, 3), direction.ravel())
    view = view_towards(geometry, code)
    expected, grid = itk.of(sitk.DICOMOrient(itk.image(voxels, geometry), code))
    np.testing.assert_array_equal(view.of(voxels), expected)
    assert grid.difference(view.geometry, 1e-6) is None
