"""What an upload may say about its voxels, checked against SimpleITK's own geometry."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from app.dialects.itksnap.metadata import Grid, read_metadata
from app.errors import BadFile, BadInput

MOST = 10**6


def told(**changes: Any) -> dict[str, Any]:
    """The metadata of the example in docs/protocols/itksnap.md, section 4."""
    values = {
        "components_per_pixel": 1,
        "component_type": "float32",
        "dimensions": [4, 3, 2],
        "spacing": [0.8, 0.8, 2.5],
        "origin": [-10.0, 4.5, 33.0],
        "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    }
    return {key: value for key, value in {**values, **changes}.items() if value is not None}


def read(**changes: Any) -> Grid:
    return read_metadata(json.dumps(told(**changes), indent=3), MOST)


def test_the_protocols_example() -> None:
    grid = read()
    assert (grid.shape, grid.bytes, grid.placed) == ((2, 3, 4), 96, True)
    assert grid.geometry.origin == (-10.0, 4.5, 33.0)
    np.testing.assert_allclose(grid.geometry.spacing, (0.8, 0.8, 2.5))


angles = st.floats(-3.0, 3.0)
lengths = st.floats(0.05, 20)


@given(st.tuples(angles, angles, angles), st.tuples(lengths, lengths, lengths), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_voxel_lies_where_itk_says(turns: Any, spacing: Any, mirrored: bool) -> None:
    rotation = np.reshape(sitk.Euler3DTransform((0, 0, 0), *turns).GetMatrix(), (3, 3))
    if mirrored:
        rotation[:, 2] *= -1
    image = sitk.Image(5, 7, 3, sitk.sitkFloat32)
    image.SetSpacing(spacing)
    image.SetOrigin((-100.25, 7.5, 900.0))
    image.SetDirection(rotation.ravel().tolist())
    grid = read(dimensions=[5, 7, 3], spacing=spacing, origin=image.GetOrigin(), direction=list(image.GetDirection()))
    assert grid.placed
    for i, j, k in ((0, 0, 0), (4, 6, 2), (1, 5, 2)):
        point = image.TransformIndexToPhysicalPoint((i, j, k))
        np.testing.assert_allclose(grid.geometry.to_patient((k, j, i)), point, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": None},
        {"direction": None},
        {"direction": [1, 0, 0, 0, 1, 0, 0, 0, 0]},
        {"direction": [2, 0, 0, 0, 1, 0, 0, 0, 1]},
        {"direction": [1, 0, 0, 0, 1, 0, 0, 1, 1]},
        {"direction": [1, 0, 0, 1]},
        {"origin": [0, 0, float("nan")]},
        {"origin": [0, 0, float("inf")]},
        {"origin": [0, 0, 10**400]},
        {"origin": "centre"},
        {"origin": [0, 0, True]},
    ],
)
def test_half_a_place_is_none_and_the_spacing_stays(changes: dict[str, Any]) -> None:
    grid = read(**changes)
    assert not grid.placed
    np.testing.assert_allclose(grid.geometry.spacing, (0.8, 0.8, 2.5))


@pytest.mark.parametrize("spacing", [None, [1, 1], [1, 1, 0], [1, 1, -1], [1, 1, "2"], [1, 1, float("nan")]])
def test_without_a_spacing_voxels_are_a_millimetre(spacing: Any) -> None:
    grid = read(spacing=spacing)
    assert (grid.placed, grid.geometry.spacing) == (False, (1.0, 1.0, 1.0))


def test_a_slice_of_its_own_is_a_volume_of_one_slice() -> None:
    grid = read(dimensions=[4, 3], spacing=[0.8, 0.9], origin=[1, 2], direction=[1, 0, 0, 1])
    assert (grid.shape, grid.placed) == ((1, 3, 4), False)
    np.testing.assert_allclose(grid.geometry.spacing, (0.8, 0.9, 1.0))


def test_only_the_dimensions_are_needed() -> None:
    grid = read_metadata('{"dimensions": [4, 3, 2]}', MOST)
    assert (grid.shape, grid.dtype) == ((2, 3, 4), np.dtype("<f4"))


@pytest.mark.parametrize(("name", "bytes_each"), [("uint8", 1), ("int16", 2), ("float32", 4), ("float64", 8)])
def test_the_type_is_honoured(name: str, bytes_each: int) -> None:
    grid = read(component_type=name)
    assert (grid.dtype, grid.bytes) == (np.dtype(name).newbyteorder("<"), 24 * bytes_each)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dimensions": None}, "dimensions"),
        ({"dimensions": [4]}, "dimensions"),
        ({"dimensions": [4, 3, 2, 1]}, "dimensions"),
        ({"dimensions": [4, 3, 0]}, "dimensions"),
        ({"dimensions": [4, 3, -2]}, "dimensions"),
        ({"dimensions": [4, 3, 2.0]}, "dimensions"),
        ({"dimensions": [4, 3, True]}, "dimensions"),
        ({"dimensions": "4x3x2"}, "dimensions"),
        ({"dimensions": {"x": 4}}, "dimensions"),
        ({"components_per_pixel": 3}, "3 components"),
        ({"components_per_pixel": 0}, "components_per_pixel"),
        ({"components_per_pixel": "1"}, "components_per_pixel"),
        ({"component_type": "object"}, "object"),
        ({"component_type": "complex64"}, "complex64"),
        ({"component_type": 4}, "type"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read(**changes)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '"x"', "[" * 100_000, "\x00"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="metadata"):
        read_metadata(text, MOST)


@pytest.mark.parametrize("dimensions", [[40000, 40000, 1], [40000, 40000], [10**9] * 3, [2**63, 2**63, 2**63]])
def test_more_than_is_allowed_is_refused_before_anything_is_made(dimensions: list[int]) -> None:
    with pytest.raises(BadFile, match="max_upload_bytes"):
        read_metadata(json.dumps(told(dimensions=dimensions)), 2 * 2**30)
