from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from app.core.prompt import Region
from app.core.training import ModelSpec
from app.core.volume import Geometry, Index, Volume
from app.errors import BadFile, BadInput
from app.models.trained.preparation import (
    labelmap_from,
    model_shape,
    prepare_image,
    prepare_label,
    region_from_model,
    resample_linear,
    resample_nearest,
    to_model_index,
)
from tests.models.volumes import ball_mask

sizes = st.integers(1, 12)
shapes = st.tuples(sizes, sizes, sizes)


def spec(spacing: tuple[float, float, float] = (0, 0, 0), intensity: str = "zscore") -> ModelSpec:
    return ModelSpec("segmentation", "BasicUNet", {}, ("one",), spacing, (16, 16, 16), intensity)


def geometry(shape: Index, spacing: tuple[float, float, float]) -> Geometry:
    """`spacing` is `(k, j, i)`; the directions are oblique."""
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing[::-1]
    return Geometry(shape, affine)


def test_the_model_grid_has_the_extent_of_the_case() -> None:
    assert model_shape(geometry((10, 20, 30), (3.0, 0.5, 0.75)), spec((1.5, 1.0, 0.0))) == (20, 10, 30)
    assert model_shape(geometry((1, 1, 2), (1.0, 1.0, 1.0)), spec((9.0, 9.0, 9.0))) == (1, 1, 1)


def test_zscore_is_over_the_voxels_that_are_not_zero() -> None:
    voxels = np.array([0, 0, 2, 4, 6, 8], np.int16).reshape(1, 2, 3)
    image = prepare_image(Volume(voxels, Geometry((1, 2, 3), np.eye(4))), spec())

    # Of 2, 4, 6, 8 the mean is 5 and the deviation the root of 5.
    np.testing.assert_allclose(image.ravel(), (np.array([0, 0, 2, 4, 6, 8]) - 5) / np.sqrt(5), rtol=1e-6)
    assert image.dtype == np.float32


def test_a_window_clips_and_scales() -> None:
    voxels = np.array([-1000, -100, 0, 100, 3000, 50], np.int16).reshape(1, 2, 3)
    image = prepare_image(Volume(voxels, Geometry((1, 2, 3), np.eye(4))), spec(intensity="window:-100:100"))

    np.testing.assert_allclose(image.ravel(), [0, 0, 0.5, 1, 1, 0.75], rtol=1e-6)


def test_a_shift_is_not_clipped() -> None:
    voxels = np.array([-1000, 208, 596], np.int16).reshape(1, 1, 3)
    image = prepare_image(Volume(voxels, Geometry((1, 1, 3), np.eye(4))), spec(intensity="shift:208:388"))

    np.testing.assert_allclose(image.ravel(), [-1208 / 388, 0, 1], rtol=1e-6)


@pytest.mark.parametrize("intensity", ["", "minmax", "window:1", "window:1:2:3"])
def test_unknown_intensities_are_refused(intensity: str) -> None:
    volume = Volume(np.arange(8).reshape(2, 2, 2), Geometry((2, 2, 2), np.eye(4)))
    with pytest.raises(BadFile):
        prepare_image(volume, spec(intensity=intensity))


def test_volumes_without_contrast_are_refused() -> None:
    volume = Volume(np.array([0, 5, 5, 0]).reshape(1, 2, 2), Geometry((1, 2, 2), np.eye(4)))
    with pytest.raises(BadInput):
        prepare_image(volume, spec())


@settings(deadline=None)
@given(shapes, shapes)
def test_resampling_a_ramp_gives_the_ramp_at_the_new_centres(old: Index, new: Index) -> None:
    # In units of the box's edges, voxel x of n has its centre at (x + 0.5) / n.
    def ramp(shape: Index) -> np.ndarray:
        centres = [(np.arange(n) + 0.5) / n for n in shape]
        return (centres[0][:, None, None] + 10 * centres[1][None, :, None] + 100 * centres[2][None, None, :]).astype(
            np.float32
        )

    # Beyond the outermost old centres the border value goes on, so the comparison is with the clipped ramp.
    def clipped(shape: Index) -> np.ndarray:
        centres = [np.clip((np.arange(m) + 0.5) / m, 0.5 / n, 1 - 0.5 / n) for n, m in zip(old, shape, strict=True)]
        return centres[0][:, None, None] + 10 * centres[1][None, :, None] + 100 * centres[2][None, None, :]

    np.testing.assert_allclose(resample_linear(ramp(old), new), clipped(new), rtol=1e-5)


def test_linear_resampling_is_scipys() -> None:
    array = np.random.default_rng(0).random((5, 8, 6)).astype(np.float32)
    positions = np.meshgrid(
        *[(np.arange(m) + 0.5) * n / m - 0.5 for n, m in zip((5, 8, 6), (7, 3, 12), strict=True)], indexing="ij"
    )
    expected = ndimage.map_coordinates(array, positions, order=1, mode="nearest")

    np.testing.assert_allclose(resample_linear(array, (7, 3, 12)), expected, rtol=1e-5)


@settings(deadline=None)
@given(shapes, st.integers(1, 4))
def test_labels_survive_a_finer_grid_and_back(shape: Index, factor: int) -> None:
    label = np.random.default_rng(sum(shape)).integers(0, 5, shape).astype(np.uint8)
    finer = (shape[0] * factor, shape[1] * factor, shape[2] * factor)

    np.testing.assert_array_equal(resample_nearest(resample_nearest(label, finer), shape), label)


def test_labels_keep_their_values() -> None:
    label = np.array([0, 255, 3, 0], np.uint8).reshape(1, 1, 4)
    finer = prepare_label(label, geometry((1, 1, 4), (1, 1, 1)), spec((0, 0, 0.5)))

    assert finer.ravel().tolist() == [0, 0, 255, 255, 3, 3, 0, 0]


def test_a_ball_goes_to_a_coarser_grid_and_back() -> None:
    ball = ball_mask((40, 40, 40), (20, 19, 21), 12)
    coarse = resample_linear(ball.astype(np.float32), (20, 20, 20))
    back = labelmap_from(np.stack([1 - coarse, coarse]), (40, 40, 40))

    overlap = 2 * (back.astype(bool) & ball).sum() / (back.sum() + ball.sum())
    assert overlap > 0.97
    assert set(np.unique(back)) == {0, 1}


def test_the_likeliest_class_wins() -> None:
    probabilities = np.random.default_rng(1).dirichlet(np.ones(4), (3, 4, 5)).astype(np.float32)
    label = labelmap_from(np.moveaxis(probabilities, -1, 0), (3, 4, 5))

    np.testing.assert_array_equal(label, probabilities.argmax(axis=-1))


@settings(deadline=None)
@given(shapes, shapes, st.data())
def test_a_voxel_lies_in_its_model_voxel(shape: Index, model: Index, data: st.DataObject) -> None:
    index = data.draw(st.tuples(*[st.integers(0, n - 1) for n in shape]))
    inside = to_model_index(index, shape, model)
    for x, n, m, y in zip(index, shape, model, inside, strict=True):
        assert y / m <= (x + 0.5) / n <= (y + 1) / m


@settings(deadline=None)
@given(shapes, shapes)
def test_neighbouring_regions_share_no_voxel_and_miss_none(shape: Index, model: Index) -> None:
    covered = np.zeros(shape, int)
    for cut in range(model[2]):
        region = Region((0, 0, cut), (model[0], model[1], cut + 1))
        found = region_from_model(np.zeros(region.shape, np.float32), region, model, shape)
        if found is not None:
            values, place = found
            assert values.shape == place.shape
            covered[place.slices] += 1

    assert (covered == 1).all()
