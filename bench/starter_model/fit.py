"""Fit only the head of the starter model, voxel by voxel: minutes on a busy processor, where training takes hours.

`python -m bench.starter_model.fit --bank BANK --start app/models/demo --out HEAD.pt` clicks through scenes of the bank
with the network as it is, collects voxels, more of them where the mask is wrong, and fits the head to those.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from app.models.starter_network import StarterUNet
from bench.starter_model.architecture import build_network, widen_weights
from bench.starter_model.phantoms import Rng
from bench.starter_model.train import new_episodes

VOXELS = 1500
"""Voxels kept of each view; half of them where the mask is wrong, if it is anywhere."""
BATCH = 8192


def chosen_voxels(wrong: torch.Tensor, rng: Rng) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat indices of voxels of a view, half of them among the ``wrong`` ones, and how much each counts, so that in all
    they stand for the whole view: else the head learns to contradict the mask."""
    anywhere = rng.integers(wrong.numel(), size=VOXELS)
    places = wrong.flatten().nonzero()[:, 0].numpy()
    if len(places):
        anywhere[: VOXELS // 2] = rng.choice(places, VOXELS // 2)
    chosen = torch.from_numpy(anywhere)
    share = 0.5 if len(places) else 0.0
    oversampled = share * wrong.flatten()[chosen] * wrong.numel() / max(1, len(places))
    return chosen, 1 / (1 - share + oversampled)


def collect(network: StarterUNet, bank: Path, views: int, patch: int, rng: Rng) -> tuple[torch.Tensor, ...]:
    """Channels (n, channels), the logits' difference without the head (n), the truth (n) and the weights (n) of voxels
    seen while clicking."""
    channels, offsets, truths, weights = [], [], [], []
    episodes = new_episodes(bank, patch, rng)
    episode = next(episodes)
    start = time.monotonic()
    for number in range(views):
        while episode.finished:
            episode = next(episodes)
        inputs, target, _ = episode.sample()
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            logits, seen = network.judge(inputs[None])
            pulled = network.direct(seen[:, : network.direct.in_channels])
            inside = network.head(seen) + pulled
        bare = (logits[0, 1] - logits[0, 0] + pulled[0, 0]).float()
        mask = bare + (inside - pulled)[0, 0].float() > 0
        places, counts = chosen_voxels(mask != target.bool(), rng)
        channels.append(seen[0].flatten(1)[:, places].T.half().clone())
        offsets.append(bare.flatten()[places].clone())
        truths.append(target.flatten()[places].float())
        weights.append(counts)
        episode.absorb(mask.float().numpy())
        if number % 50 == 49:
            print(f"{time.monotonic() - start:6.0f} s  {number + 1} views  {time.process_time():.0f} s", flush=True)
    return torch.cat(channels), torch.cat(offsets), torch.cat(truths), torch.cat(weights)


def fit(network: StarterUNet, samples: tuple[torch.Tensor, ...], epochs: int, rate: float) -> None:
    """Fit head and linear term to voxels; the U-Net stays as it is."""
    channels, offsets, truths, counts = samples
    with torch.no_grad():
        weights = network.direct.weight.flatten().clone()
        offsets = offsets - channels[:, : len(weights)].float() @ weights
    parameters = [*network.direct.parameters(), *network.head.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-3)
    steps = epochs * (len(truths) // BATCH + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for step in range(steps):
        picked = torch.randint(len(truths), (BATCH,))
        seen = channels[picked].float()[..., None, None, None]
        inside = network.direct(seen[:, : len(weights)]) + network.head(seen)
        loss = binary_cross_entropy_with_logits(
            offsets[picked] + inside.flatten(), truths[picked], weight=counts[picked]
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step} of {steps}  loss {loss.item():.4f}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--start", type=Path, default=Path("app/models/demo"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--views", type=int, default=300)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--rounds", type=int, default=2, help="how often to click anew with the head as it is by then")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    network = build_network()
    assert isinstance(network, StarterUNet)
    widen_weights(arguments.start, network)
    network.eval().requires_grad_(False)
    kept = []
    for _ in range(arguments.rounds):
        kept.append(collect(network, arguments.bank, arguments.views // arguments.rounds, arguments.patch, rng))
        fit(network, tuple(torch.cat(part) for part in zip(*kept, strict=True)), arguments.epochs, arguments.rate)
        torch.save({"average": network.state_dict()}, arguments.out)


if __name__ == "__main__":
    main()
