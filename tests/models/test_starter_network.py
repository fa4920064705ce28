"""The starter model's network: what it computes of the prompts, and that it begins where the demo model ends."""

from __future__ import annotations

import heapq
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from app.models.nninteractive.folder import find_folder
from app.models.starter_network import (
    DISTANCE_CHANNELS,
    FREQUENCY_CHANNELS,
    PULLS,
    distances,
    frequency,
    geodesic,
    pulls,
    running_costs,
)
from bench.starter_model.architecture import build_network, load_weights, save_weights, widen_weights, write_folder

SIDE = 12


def test_every_tensor_is_made_on_the_input_s_device() -> None:
    """torch's `meta` device stands in for a graphics card: like one, it takes no tensors of the processor."""
    found = torch.cat(distances(torch.zeros(2, 8, 6, 8, 10, device="meta")), 1)
    assert found.shape == (2, FREQUENCY_CHANNELS + DISTANCE_CHANNELS, 6, 8, 10)
    assert found.device.type == "meta"


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
    included, excluded = torch.cat(distances(patch), 1)[0, PULLS]
    assert included[6, 6, 3] > 0.8
    assert included[6, 6, 3] > included[6, 10, 3] > 0
    assert included[:, :, 8:].max() < 0.01
    assert not excluded.any()
    patch[0, 1, :, :, :6] = 1.0
    assert not torch.cat(distances(patch), 1)[0, PULLS].any()


def test_pulls_are_the_same_alone() -> None:
    patch = torch.rand(1, 8, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    patch[:, 1:] = (patch[:, 1:] > 0.95).float()
    torch.testing.assert_close(pulls(patch), torch.cat(distances(patch), 1)[:, PULLS])


def test_it_starts_as_the_network_whose_weights_it_takes_over(tmp_path: Path) -> None:
    network = build_network().eval()
    widen_weights(find_folder("demo"), network)
    patch = torch.randn(1, 8, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    patch[:, 1:] = (patch[:, 1:] > 2).float()
    write_folder(tmp_path)
    save_weights(tmp_path, network.state_dict())
    again = build_network().eval()
    load_weights(tmp_path, again)
    with torch.inference_mode():
        torch.testing.assert_close(again(patch), network(patch), rtol=1e-2, atol=1e-2)
        demo = _demo()
        torch.testing.assert_close(network(patch), demo(patch), rtol=1e-2, atol=1e-2)


def _demo() -> torch.nn.Module:
    from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

    session = nnInteractiveInferenceSession(device=torch.device("cpu"), torch_n_threads=1)
    session.initialize_from_trained_model_folder(str(find_folder("demo")))
    found: torch.nn.Module = session.network.eval().requires_grad_(False)
    return found


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
