"""Compare networks on held-out scenes, patch by patch: `python -m bench.starter_model.compare --checkpoint A B`.

Cheap enough to choose by: no session and no guard, one forward a click in the patch around it, clicks in the middle of
the largest error. The samples are the same for every network.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from nnInteractive.inference.inference_session import nnInteractiveInferenceSession
from numpy.typing import NDArray
from torch import nn

from bench.starter_model.architecture import build_network
from bench.starter_model.bank import Sample, held_out_sample
from bench.starter_model.episodes import Episode
from bench.starter_model.phantoms import held_out_kinds, normalise

CLICKS = 6


def held_out(count: int, seed: int) -> Iterator[tuple[str, Sample, tuple[int, ...]]]:
    """Structures to click on: scenes of held-out families, and one in three a held-out phantom."""
    kinds = held_out_kinds(size=72)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        if number % 3 == 2:
            kind = kinds[(number // 3) % len(kinds)]
            phantom = kind.make(rng)
            yield "phantom", Sample(normalise(phantom.image), phantom.labels, ((1,),)), (1,)
        else:
            sample = held_out_sample(rng)
            yield "scene", sample, sample.groups[rng.integers(len(sample.groups))]


def click_through(network: nn.Module, sample: Sample, group: tuple[int, ...], patch: int) -> list[float]:
    """Dice after each click."""
    episode = Episode(sample, group, patch, np.random.default_rng(0), plain=True)
    scores: list[float] = []
    while len(scores) < CLICKS and not episode.finished:
        inputs, _, _ = episode.sample()
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(inputs[None])[0]
        episode.absorb((logits[1] > logits[0]).float().numpy())
        scores.append(episode.dice())
    return scores + [scores[-1]] * (CLICKS - len(scores))


def load(path: Path) -> nn.Module:
    """A network from a training's checkpoint (its averaged weights) or a model folder of any architecture."""
    if path.is_dir():
        session = nnInteractiveInferenceSession(device=torch.device("cpu"), torch_n_threads=torch.get_num_threads())
        session.initialize_from_trained_model_folder(str(path))
        found: nn.Module = session.network
        return found.eval()
    network = build_network()
    network.load_state_dict(torch.load(path, weights_only=True)["average"])
    return network.eval()


def table(scores: dict[str, NDArray[np.float64]]) -> str:
    return "  ".join(f"{kind} " + " ".join(f"{x:.3f}" for x in rows.mean(0)) for kind, rows in scores.items())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=99)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for path in arguments.checkpoint:
        network = load(path)
        rows: dict[str, list[list[float]]] = {}
        start = time.process_time()
        for kind, sample, group in held_out(arguments.count, arguments.seed):
            rows.setdefault(kind, []).append(click_through(network, sample, group, arguments.patch))
        print(
            path, table({k: np.array(v) for k, v in rows.items()}), f"{time.process_time() - start:.0f} s", flush=True
        )


if __name__ == "__main__":
    main()
