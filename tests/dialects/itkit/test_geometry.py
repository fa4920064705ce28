"""Labels land where the image's voxels are, on oblique, reversed, anisotropic grids.

Protocol: docs/protocols/itkit.md, section 2.5.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dialects.itkit.site import Site, image, opened, rotation, slanted

WINDOW = {"window_level": "50", "window_width": "350"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("geometry")) as one:
        one.load("spleen.onnx")
        one.load_named("spl", "spleen.onnx")
        one.load_named("blurry", "blurry.onnx")
        yield one


directions = st.one_of(
    st.integers(0, 2**31).map(rotation),
    st.tuples(
        st.permutations([1, 2, 3]).flatmap(lambda p: st.tuples(*[st.sampled_from([n, -n]) for n in p])),
        st.floats(-20, 20),
    ).map(lambda given: slanted(*given)),
)
images = st.builds(
    image,
    size=st.tuples(*[st.integers(2, 25)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    direction=directions,
    seed=st.integers(0, 99),
)


def assert_at_the_same_points(found: sitk.Image, source: sitk.Image, value: float) -> None:
    """Asked with SimpleITK, at the physical place of every voxel of the image."""
    values = sitk.GetArrayFromImage(source)
    for k, j, i in np.random.default_rng(0).integers(0, values.shape, (60, 3)).tolist():
        place = found.TransformPhysicalPointToIndex(source.TransformIndexToPhysicalPoint((i, j, k)))
        assert found.GetPixel(place) == int(values[k, j, i] > value)


def assert_same_grid(one: sitk.Image, other: sitk.Image) -> None:
    assert one.GetSize() == other.GetSize()
    np.testing.assert_allclose(one.GetSpacing(), other.GetSpacing(), rtol=1e-4)
    np.testing.assert_allclose(one.GetOrigin(), other.GetOrigin(), atol=1e-2)
    np.testing.assert_allclose(one.GetDirection(), other.GetDirection(), atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(source=images)
def test_both_generations_answer_on_the_images_own_grid(shared: Site, source: sitk.Image):
    g2 = shared.labels(source, **WINDOW)
    assert_same_grid(g2, source)
    assert_at_the_same_points(g2, source, 50)
    g1 = shared.labels(source, model_name="spl")
    assert_same_grid(g1, source)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(g1), sitk.GetArrayFromImage(source) > 0.5)


@settings(max_examples=25, deadline=None)
@given(source=images)
def test_the_lpi_grid_is_that_of_simpleitk(shared: Site, source: sitk.Image):
    found = shared.labels(source, grid="lpi", **WINDOW)
    sent = sitk.ReadImage(str(shared.work / "sent.nii.gz"))
    assert_same_grid(found, sitk.DICOMOrient(sent, "LPI"))
    assert_at_the_same_points(found, source, 50)


@settings(max_examples=15, deadline=None)
@given(source=images)
def test_the_network_sees_the_image_turned_to_lpi(shared: Site, source: sitk.Image):
    """Its answers depend on the direction in which it sees things: the same as for an image that SimpleITK turned and
    scaled, sent without any of that being asked for."""
    shared.load("blurry.onnx")
    found = shared.labels(source, grid="lpi", **WINDOW)
    turned = sitk.DICOMOrient(sitk.ReadImage(str(shared.work / "sent.nii.gz")), "LPI")
    scaled = sitk.IntensityWindowing(sitk.Cast(turned, sitk.sitkFloat64), -125.0, 225.0, 0.0, 1.0)
    expected = shared.labels(sitk.Cast(scaled, sitk.sitkFloat32), model_name="blurry")
    same = sitk.GetArrayFromImage(found) == sitk.GetArrayFromImage(expected)
    assert same.mean() > 0.98  # float16 sums tie now and then, and the two ways of scaling differ in the last bit
    assert shared.load("spleen.onnx").status_code == 200
