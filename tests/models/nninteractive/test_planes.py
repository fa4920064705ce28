"""All planes alike, in front of the network: what is drawn on a sagittal or a coronal slice is in the same voxels of
the same channels as the same drawing on an axial slice of the volume with its axes exchanged."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.prompt import InitialMask, Lasso, Point, Prompt, Region, Scribble
from app.core.volume import Geometry, Volume
from app.models.device import Device
from app.models.nninteractive.model import NnInteractive, _click
from tests.models.folders import tiny_nninteractive
from tests.models.volumes import ball_mask, ball_volume

SHAPE = (18, 28, 23)
CENTRE = (9, 13, 11)
Axes = tuple[int, ...]


@pytest.fixture(scope="module", params=[("blosc2", None), ("tensor", 2)], ids=str)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NnInteractive]:
    device = Device("cpu", threads=1, precision="fp32")
    folder = tiny_nninteractive(tmp_path_factory.mktemp("models") / "tiny")
    storage, patches = request.param
    yield NnInteractive("tiny", folder, device, storage=storage, patches=patches)
    device.shutdown()


def drawings() -> list[Prompt]:
    """A ragged stroke and a filled outline on axial slices, and prompts that have no plane."""
    rng = np.random.default_rng(5)
    return [
        Scribble(Region((9, 5, 4), (10, 17, 14)), rng.random((1, 12, 10)) > 0.6),
        Lasso(Region((4, 9, 12), (5, 20, 19)), rng.random((1, 11, 7)) > 0.2, include=False),
        Scribble(Region((12, 14, 2), (13, 15, 21)), np.ones((1, 1, 19), bool), include=False),
        Lasso(Region((8, 2, 1), (9, 26, 20)), rng.random((1, 24, 19)) > 0.1),
        Point((3, 20, 7)),
    ]


def turned(prompt: Prompt, axes: Axes) -> Prompt:
    def place(at: Any) -> Any:
        return tuple(at[a] for a in axes)

    if isinstance(prompt, Point):
        return Point(place(prompt.at), prompt.include)
    if isinstance(prompt, InitialMask):
        return InitialMask(prompt.voxels.transpose(axes))
    assert isinstance(prompt, Scribble | Lasso)
    region = Region(place(prompt.region.low), place(prompt.region.high))
    return type(prompt)(region, prompt.voxels.transpose(axes), prompt.include)


def exchanged(axes: Axes) -> Volume:
    voxels: NDArray[np.generic] = np.ascontiguousarray(ball_volume(SHAPE, CENTRE).voxels.transpose(axes))
    k, j, i = voxels.shape
    return Volume(voxels, Geometry((k, j, i), np.eye(4)))


@pytest.mark.parametrize("axes", list(permutations(range(3)))[1:], ids=str)
def test_the_network_is_shown_the_same_in_every_plane(model: NnInteractive, axes: Axes) -> None:
    axial: Any = model.open(exchanged((0, 1, 2)), {})
    other: Any = model.open(exchanged(axes), {})
    for prompt in [InitialMask(ball_mask(SHAPE, CENTRE, 4)), *drawings()]:
        axial.add(prompt, predict=False)
        other.add(turned(prompt, axes), predict=False)
        expected, found = axial._library, other._library
        channels = np.asarray(expected.interactions[:])
        assert channels.any()
        np.testing.assert_array_equal(found.interactions[:], channels.transpose(0, *(1 + a for a in axes)))
        assert [tuple(at[a] for a in axes) for at in expected.new_interaction_centers] == [
            tuple(at) for at in found.new_interaction_centers
        ]
        assert expected.new_interaction_zoom_out_factors == found.new_interaction_zoom_out_factors
    np.testing.assert_array_equal(
        np.asarray(other._library.preprocessed_image[0]),
        np.asarray(axial._library.preprocessed_image[0]).transpose(axes),
    )


@pytest.mark.parametrize("axes", list(permutations(range(3))), ids=str)
def test_the_guard_looks_at_the_same_voxel_of_a_stroke_in_every_plane(axes: Axes) -> None:
    for prompt in drawings():
        click, other = _click(prompt), _click(turned(prompt, axes))
        assert (click is None) == isinstance(prompt, Lasso)
        if click is None or other is None:
            continue
        assert other.index == tuple(click.index[a] for a in axes)
        if isinstance(prompt, Scribble):
            place = np.subtract(click.index, prompt.region.low)
            assert prompt.voxels[tuple(place)], "it lies on the stroke"
