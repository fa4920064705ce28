"""The demo model's network, wherever it computes."""

from __future__ import annotations

import heapq

import numpy as np
import torch
from numpy.typing import NDArray

from app.models.demo_network import CONNECTED_CHANNELS, LIKENESS_CHANNELS, connectedness, likeness


def test_every_tensor_is_made_on_the_input_s_device() -> None:
    """torch's `meta` device stands in for a graphics card: like one, it takes no tensors of the processor."""
    patch = torch.zeros(2, 8, 6, 7, 9, device="meta")
    wide = torch.cat(likeness(patch), 1)
    assert wide.shape == (2, LIKENESS_CHANNELS + CONNECTED_CHANNELS, 6, 7, 9)
    assert wide.device.type == "meta"


def test_voxels_like_the_clicked_one_are_told_from_others() -> None:
    alike = likeness(_two_halves())[1][0, 0]  # 1 where the smoothed image is as at the click
    assert alike[:, :, :4].mean() > 0.5
    assert alike[:, :, 8:].max() < 0.01


def test_what_is_alike_but_lies_behind_something_else_is_not_connected() -> None:
    patch = _two_halves()
    patch[0, 0, :, :, 10:] -= 5.0  # beyond the other thing, as at the click again
    apart = torch.cat(likeness(patch), 1)[0]
    assert apart[1, :, :, 11].mean() > 0.2
    assert apart[LIKENESS_CHANNELS, :, :, 11].max() < 0.01
    assert apart[LIKENESS_CHANNELS, 5, 5, 2] > 0.5


def test_connectedness_is_the_best_way_s_weakest_voxel() -> None:
    """Against Dijkstra's algorithm for widest paths, voxel by voxel."""
    alike = np.random.default_rng(2).random((6, 7, 5)).astype(np.float32)
    seeds = np.zeros_like(alike)
    seeds[0, 0, 0], seeds[5, 3, 4] = 1.0, 0.4
    found = connectedness(torch.from_numpy(alike)[None, None], torch.from_numpy(seeds)[None, None])
    np.testing.assert_allclose(found[0, 0].numpy(), _widest(alike, seeds))


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
