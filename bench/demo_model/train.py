"""Train the demo model on phantoms: ``python -m bench.demo_model.train --minutes 60 --out app/models/demo``."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bench.demo_model.architecture import PATCH, build_network, load_weights, save_weights, write_folder
from bench.demo_model.episodes import Episode
from bench.demo_model.phantoms import MIN_OBJECT_VOXELS, Phantom, Rng, normalise, training_phantom

POOL = 40
STEPS_PER_NEW_PHANTOM = 4
SAVE_EVERY = 100
LOG_EVERY = 50
AVERAGING = 0.998


def _prepared(rng: Rng) -> Phantom:
    """A new training volume, normalised, with a slightly random scale and offset."""
    while True:
        phantom = training_phantom(rng)
        if phantom.shapes:
            image = normalise(phantom.image) * rng.uniform(0.85, 1.15) + rng.normal(0, 0.05)
            return Phantom(image.astype(np.float32), phantom.labels, phantom.shapes)


def _new_episode(pool: list[Phantom], patch: int, rng: Rng) -> Episode:
    """An episode about a random object of a random phantom."""
    while True:
        phantom = pool[rng.integers(len(pool))]
        label = int(rng.integers(1, phantom.labels.max() + 1))
        if (phantom.labels == label).sum() < MIN_OBJECT_VOXELS:
            continue
        episode = Episode(phantom.image, phantom.labels, label, patch, rng)
        if not episode.finished:
            return episode


def loss_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross entropy plus soft Dice per sample; logits (batch, 2, k, j, i), target int64 (batch, k, j, i)."""
    chance = logits.softmax(1)[:, 1]
    wanted = target.float()
    axes = (1, 2, 3)
    overlap = (2 * (chance * wanted).sum(axes) + 1) / (chance.sum(axes) + wanted.sum(axes) + 1)
    return cross_entropy(logits, target) + (1 - overlap).mean()


class WeightAverage:
    """Exponential moving average of a network's weights; the averaged ones are shipped."""

    def __init__(self, network: nn.Module) -> None:
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.steps = 0

    def update(self, network: nn.Module) -> None:
        """Take one step; the first steps weigh more, so that the start is forgotten soon."""
        self.steps += 1
        keep = min(AVERAGING, self.steps / (self.steps + 10))
        for name, value in network.state_dict().items():
            self.weights[name].lerp_(value.detach(), 1 - keep)


def patch_schedule(progress: float) -> tuple[int, int]:
    """Patch size and batch size at a share of the run: small patches first, the session's own at the end."""
    if progress < 0.4:
        return 48, 4
    if progress < 0.7:
        return 64, 3
    return PATCH, 2


def batches(rng: Rng, minutes: float) -> Iterator[tuple[float, list[Episode]]]:
    """Yield the share of the run done and the running episodes of the next batch, until the time is up."""
    pool = [_prepared(rng) for _ in range(POOL // 4)]
    episodes: list[Episode] = []
    start = time.monotonic()
    step = 0
    while (progress := (time.monotonic() - start) / (60 * minutes)) < 1:
        patch, size = patch_schedule(progress)
        if step % STEPS_PER_NEW_PHANTOM == 0:
            if len(pool) == POOL:
                pool.pop(int(rng.integers(POOL)))
            pool.append(_prepared(rng))
        episodes = [e for e in episodes if not e.finished and e.patch == patch][:size]
        while len(episodes) < size:
            episodes.append(_new_episode(pool, patch, rng))
        yield progress, episodes
        step += 1


def train(out: Path, minutes: float, rate: float, resume: bool, seed: int, threads: int) -> None:
    """Train for some minutes and leave the averaged weights in ``out``, saving on the way."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = build_network()
    write_folder(out)
    if resume:
        load_weights(out, network)
    network.train()
    average = WeightAverage(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    recent: list[float] = []
    start = time.monotonic()
    for step, (progress, episodes) in enumerate(batches(rng, minutes)):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50) * (1 - progress) ** 0.9
        inputs, targets = (torch.stack(part) for part in zip(*(e.sample() for e in episodes), strict=True))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(inputs)
        loss = loss_of(logits.float(), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        average.update(network)
        for episode, prediction in zip(episodes, logits[:, 1] > logits[:, 0], strict=True):
            episode.absorb(prediction)
        recent = [*recent[-199:], loss.item()]
        if step % LOG_EVERY == 0:
            elapsed = time.monotonic() - start
            print(f"{elapsed:6.0f} s  step {step}  patch {episodes[0].patch}  loss {np.mean(recent):.4f}", flush=True)
        if step % SAVE_EVERY == SAVE_EVERY - 1:
            save_weights(out, average.weights)
    save_weights(out, average.weights)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("app/models/demo"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=3e-3, help="initial learning rate (try 1e-3 with --resume)")
    parser.add_argument("--resume", action="store_true", help="go on from the weights in --out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    train(arguments.out, arguments.minutes, arguments.rate, arguments.resume, arguments.seed, arguments.threads)


if __name__ == "__main__":
    main()
