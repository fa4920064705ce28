"""Train the starter model on a bank of made-up scenes, resumable from its checkpoint at any time.

`python -m bench.starter_model.train --bank BANK --checkpoint FILE --steps 20000` goes on with FILE if it is there. The
schedule counts steps, so that a busy machine only takes longer.
"""

import argparse
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bench.starter_model.architecture import build_network, load_weights
from bench.starter_model.bank import load
from bench.starter_model.episodes import Episode, turned
from bench.starter_model.phantoms import Rng

SAVE_SECONDS = 120
LOG_EVERY = 10
AVERAGING = 0.998
EPISODES_PER_SAMPLE = 2
WARM_UP = 100


def loss_of(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted cross entropy plus soft Dice per sample; logits (batch, 2, k, j, i), the others (batch, k, j, i)."""
    chance = logits.softmax(1)[:, 1]
    wanted = target.float()
    axes = (1, 2, 3)
    overlap = (2 * (chance * wanted).sum(axes) + 1) / (chance.sum(axes) + wanted.sum(axes) + 1)
    voxelwise = cross_entropy(logits, target, reduction="none")
    return (voxelwise * weights).sum() / weights.sum() + (1 - overlap).mean()


@dataclass
class Run:
    """All that a training has to keep to go on: weights, their running average, the optimizer, the steps done."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: dict[str, torch.Tensor] = field(default_factory=dict)
    step: int = 0

    def average_weights(self) -> None:
        keep = min(AVERAGING, self.step / (self.step + 10))
        for name, value in self.network.state_dict().items():
            if name in self.average:
                self.average[name].lerp_(value.detach(), 1 - keep)
            else:
                self.average[name] = value.detach().clone()

    def save(self, path: Path) -> None:
        partial = path.with_suffix(".partial")
        content: dict[str, Any] = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
        }
        torch.save(content, partial)
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        content = torch.load(path, weights_only=True)
        self.network.load_state_dict(content["network"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.average = content["average"]
        self.step = int(content["step"])


def patch_schedule(progress: float) -> tuple[int, int]:
    """Patch size and batch size at a share of the run: small patches first, the session's own at the end."""
    return (48, 3) if progress < 0.7 else (64, 2)


def new_episodes(banks: Sequence[Path], patch: int, rng: Rng) -> Iterator[Episode]:
    """Episodes about random structures of random samples of the banks, which may grow meanwhile."""
    files: list[Path] = []
    count = 0
    while True:
        if count % 100 == 0:
            files = sorted(file for bank in banks for file in bank.glob("*.npz"))
        count += 1
        sample = turned(load(files[rng.integers(len(files))]), rng)
        for _ in range(EPISODES_PER_SAMPLE):
            group = sample.groups[rng.integers(len(sample.groups))]
            episode = Episode(sample, group, patch, rng)
            if not episode.finished:
                yield episode


def rate_at(progress: float, step: int, highest: float) -> float:
    """Learning rate: warm up, then a cosine down to a fiftieth."""
    return highest * min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


@dataclass(frozen=True)
class Plan:
    """Where samples come from, where the run is kept, how many steps it takes in all, its highest rate, its chance."""

    banks: Sequence[Path]
    checkpoint: Path
    steps: int
    rate: float = 2e-3
    seed: int = 1


def train(plan: Plan, network: nn.Module) -> Run:
    """Train until the plan's steps, those before a resume included, are done."""
    checkpoint, rate = plan.checkpoint, plan.rate
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    run = Run(network, torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3))
    if checkpoint.exists():
        run.load(checkpoint)
    torch.manual_seed(plan.seed + run.step)
    rng = np.random.default_rng([plan.seed, run.step])
    network.train()
    sources = {patch: new_episodes(plan.banks, patch, rng) for patch, _ in (patch_schedule(0), patch_schedule(1))}
    episodes: list[Episode] = []
    first: list[float] = []
    later: list[float] = []
    saved = start = time.monotonic()
    while run.step < plan.steps:
        progress = run.step / plan.steps
        patch, size = patch_schedule(progress)
        episodes = [e for e in episodes if not e.finished and e.patch == patch][:size]
        while len(episodes) < size:
            episodes.append(next(sources[patch]))
        for group in run.optimizer.param_groups:
            group["lr"] = rate_at(progress, run.step, rate)
        inputs, targets, weights = (torch.stack(part) for part in zip(*(e.sample() for e in episodes), strict=True))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(inputs)
        loss = loss_of(logits.float(), targets, weights)
        run.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 3.0)
        run.optimizer.step()
        run.step += 1
        run.average_weights()
        predictions = (logits[:, 1] > logits[:, 0]).float().numpy()
        for episode, prediction in zip(episodes, predictions, strict=True):
            prompts = episode.prompts
            episode.absorb(prediction)
            (first if prompts == 1 else later).append(episode.dice())
        now = time.monotonic()
        if run.step % LOG_EVERY == 0:
            figures = f"dice first {np.mean(first[-150:]):.3f} later {np.mean(later[-300:]):.3f}"
            print(
                f"{now - start:6.0f} s  step {run.step}  patch {patch}  loss {loss.item():.3f}  {figures}", flush=True
            )
        if now - saved > SAVE_SECONDS:
            run.save(checkpoint)
            saved = now
    run.save(checkpoint)
    return run


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", type=Path, nargs="+", required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="model folder whose weights to begin with")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    network = build_network()
    if arguments.start:
        load_weights(arguments.start, network)
    plan = Plan(arguments.bank, arguments.checkpoint, arguments.steps, arguments.rate, arguments.seed)
    torch.set_num_threads(arguments.threads)
    train(plan, network)


if __name__ == "__main__":
    main()
