"""The starter model's network: what it computes of the image and the prompts."""

from __future__ import annotations

import heapq

import numpy as np
import torch
from numpy.typing import NDArray

from app.models.starter_network import (
    COMPUTED_CHANNELS,
    connectedness,
    features,
    frequency,
    geodesic,
    running_costs,
)
from bench.starter_model.architecture import build_network

SIDE = 12
CONNECTED = 6
"""The channel of `likeness` with the connectedness with the included prompts."""


def test_every_tensor_is_made_on_the_input_s_device() -> None:
    """torch's `meta` device stands in for a graphics card: like one, it takes no tensors of the processor."""
    computed, pulls = features(torch.zeros(2, 8, 6, 8, 10, device="meta"))
    found = torch.cat(computed, 1)
    assert found.shape == (2, COMPUTED_CHANNELS, 6, 8, 10)
    assert found.device.type == pulls.device.type == "meta"


def test_a_geodesic_distance_is_the_cheapest_way() -> None:
    """Against Dijkstra's algorithm; the costs are such that no cheapest way has many turns."""
    rng = np.random.default_rng(3)
    shape = (5, 6, 7)
    costs = [torch.from_numpy(rng.uniform(0.5, 1.5, _between(shape, axis)).astype(np.float32)) for axis in range(3)]
    seeds = torch.zeros(1, 1, *shape, dtype=torch.bool)
    seeds[0, 0, 0, 0, 0] = seeds[0, 0, 4, 5, 2] = True
    along = running_costs([cost[None, None] for cost in costs])
    found = geodesic(seeds, along, sweeps=12)[0, 0].numpy()
    np.testing.assert_allclose(found, _cheapest([c.numpy() for c in costs], seeds[0, 0].numpy()), rtol=1e-4)


def test_the_intensity_under_the_weights_is_the_most_frequent_one() -> None:
    bins = torch.tensor([20, 20, 20, 60, 60, 90]).view(1, 1, 1, 1, 6)
    weights = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 1, 6)
    found = frequency(bins, weights).flatten()
    assert found[0] == 1
    assert 0.2 < found[3] == found[4] < 0.5
    assert found[5] < 0.01
    assert not frequency(bins, torch.zeros_like(weights)).any()


def test_a_prompt_pulls_what_hangs_together_with_it_until_it_is_obeyed() -> None:
    patch = torch.zeros(1, 8, SIDE, SIDE, SIDE)
    patch[0, 0] = torch.randn(SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.1
    patch[0, 0, :, :, 6:] += 5.0  # the right half is another thing
    patch[0, 4, 5:7, 5:7, 2:4] = 1.0
    included, excluded = features(patch)[1][0]
    assert included[6, 6, 3] > 0.8
    assert included[6, 6, 3] > included[6, 10, 3] > 0
    assert included[:, :, 8:].max() < 0.01
    assert not excluded.any()
    patch[0, 1, :, :, :6] = 1.0
    assert not features(patch)[1].any()


def test_voxels_like_the_clicked_one_are_told_from_others() -> None:
    alike = features(_two_halves())[0][0][0, 1]  # 1 where the smoothed image is as at the click
    assert alike[:, :, :4].mean() > 0.5
    assert alike[:, :, 8:].max() < 0.01


def test_what_is_alike_but_lies_behind_something_else_is_not_connected() -> None:
    patch = _two_halves()
    patch[0, 0, :, :, 10:] -= 5.0  # beyond the other thing, as at the click again
    apart = features(patch)[0][0][0]
    assert apart[1, :, :, 11].mean() > 0.2
    assert apart[CONNECTED, :, :, 11].max() < 0.01
    assert apart[CONNECTED, 5, 5, 2] > 0.5


def test_connectedness_is_the_best_way_s_weakest_voxel() -> None:
    """Against Dijkstra's algorithm for widest paths, voxel by voxel."""
    alike = np.random.default_rng(2).random((6, 7, 5)).astype(np.float32)
    seeds = np.zeros_like(alike)
    seeds[0, 0, 0], seeds[5, 3, 4] = 1.0, 0.4
    found = connectedness(torch.from_numpy(alike)[None, None], torch.from_numpy(seeds)[None, None])
    np.testing.assert_allclose(found[0, 0].numpy(), _widest(alike, seeds))


def test_the_patch_s_own_range_shows_what_the_whole_image_s_hides() -> None:
    """Two soft tissues beside bone, as a normalised CT has them, and an include click in one of them."""
    patch = torch.zeros(1, 8, SIDE, SIDE, SIDE)
    patch[0, 0] = 0.10
    patch[0, 0, :, :, 6:] = 0.14
    patch[0, 0, 0, 0, :2] = 9.0
    patch[0, 4, 5:7, 5:7, 2:4] = 1.0
    ranged, compared, *near = features(patch)[0][3][0]
    assert ranged[6, 6, 8] - ranged[6, 6, 3] > 1.9
    assert compared[6, 6, 8] - compared[6, 6, 3] > 0.5
    assert near[0][6, 6, 3] == near[2][6, 6, 3] == 1
    assert near[2][6, 6, 3] > near[2][6, 6, 8] > near[2][6, 6, 11] > 0
    assert near[0][6, 6, 8] < near[2][6, 6, 8]
    assert not near[1].any()
    assert not near[3].any()


def test_a_patch_without_an_image_or_a_prompt_is_finite() -> None:
    network = build_network().eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 8, 32, 32, 32)).isfinite().all()


def _between(shape: tuple[int, int, int], axis: int) -> tuple[int, ...]:
    return tuple(n - (a == axis) for a, n in enumerate(shape))


def _cheapest(costs: list[NDArray[np.float32]], seeds: NDArray[np.bool_]) -> NDArray[np.float64]:
    far = np.full(seeds.shape, np.inf)
    waiting = [(0.0, tuple(int(x) for x in at)) for at in np.argwhere(seeds)]
    while waiting:
        way, at = heapq.heappop(waiting)
        if way >= far[at]:
            continue
        far[at] = way
        for axis in range(3):
            for step in (-1, 1):
                to = tuple(x + step * (a == axis) for a, x in enumerate(at))
                if 0 <= to[axis] < seeds.shape[axis]:
                    heapq.heappush(waiting, (way + float(costs[axis][min(at, to)]), to))
    return far


def _two_halves() -> torch.Tensor:
    patch = torch.zeros(1, 8, 12, 12, 12)
    patch[0, 0] = torch.randn(12, 12, 12, generator=torch.Generator().manual_seed(0)) * 0.1
    patch[0, 0, :, :, 6:] += 5.0  # the right half is another thing
    patch[0, 4, 4:8, 4:8, 2:4] = 1.0  # an including click on the left
    return patch


def _widest(alike: NDArray[np.float32], seeds: NDArray[np.float32]) -> NDArray[np.float32]:
    reached = np.zeros_like(alike)
    waiting = [(-float(min(seeds[at], alike[at])), at) for at in np.ndindex(alike.shape) if seeds[at] > 0]
    heapq.heapify(waiting)
    while waiting:
        width, at = heapq.heappop(waiting)
        if -width <= reached[at]:
            continue
        reached[at] = -width
        for axis in range(3):
            for step in (-1, 1):
                to = tuple(x + step * (a == axis) for a, x in enumerate(at))
                if all(0 <= x < n for x, n in zip(to, alike.shape, strict=True)):
                    heapq.heappush(waiting, (max(width, -float(alike[to])), to))
    return reached
