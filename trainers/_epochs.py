"""The training loop that the trainers share, which resumes after a kill."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from app.core.training import Epoch, TrainingRun

_WARM_UP = 20  # steps
_WEIGHT_DECAY = 1e-4
_MAX_GRADIENT_NORM = 5.0


def epochs(
    run: TrainingRun,
    rate: float,
    steps: int,
    loss_of: Callable[[np.random.Generator], torch.Tensor],
    measure: Callable[[], Mapping[str, float]],
) -> Iterator[Epoch]:
    """Train for `run.epochs` epochs of `steps` steps: AdamW with a short warm-up and cosine decay to zero.

    `loss_of` draws a batch and returns its loss; `measure` returns metrics of the network in evaluation mode.
    """
    network = run.network
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=_WEIGHT_DECAY)
    first = 1
    if run.resume is not None:
        optimizer.load_state_dict(dict(run.resume["optimizer"]))
        first = int(run.resume["epoch"]) + 1
    for number in range(first, run.epochs + 1):
        # Randomness depends only on the seed and the epoch's number, so there is no random state to save.
        torch.manual_seed(run.seed * 1_000_003 + number)
        rng = np.random.default_rng((run.seed, number))
        network.train()
        total = 0.0
        for step in range(steps):
            run.pause()
            now = (number - 1) * steps + step
            for group in optimizer.param_groups:
                group["lr"] = rate * _rate_factor(now, run.epochs * steps)
            loss = loss_of(rng)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), _MAX_GRADIENT_NORM)
            optimizer.step()
            total += loss.item()
        metrics = {"loss": total / steps}
        if len(run.validate) > 0:
            network.eval()
            with torch.no_grad():
                metrics |= measure()
        yield Epoch(number, run.epochs, metrics, {"epoch": number, "optimizer": optimizer.state_dict()})


def forward(network: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """The network's output in float32, computed in bfloat16 where the hardware supports it."""
    device = inputs.device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=_has_bfloat16(device)):
        answer: torch.Tensor = network(inputs)
    return answer.float()


def dice(overlap: Mapping[str, int], sizes: Mapping[str, int]) -> dict[str, float]:
    """`dice` (the mean) and a `dice:<label>` each, from the overlap of prediction and truth and the sum of their sizes.

    Labels with a size of 0 are left out; if all are, `dice` is 0.
    """
    each = {name: 2 * overlap[name] / size for name, size in sizes.items() if size > 0}
    mean = sum(each.values()) / len(each) if each else 0.0
    return {"dice": mean} | {f"dice:{name}": value for name, value in each.items()}


def _rate_factor(step: int, total: int) -> float:
    warm = min(1.0, (step + 1) / _WARM_UP)
    return warm * 0.5 * (1 + math.cos(math.pi * step / total))


def _has_bfloat16(device: str) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Not public in torch yet; without it, fall back to float32.
    amx = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return device == "cpu" and amx is not None and bool(amx())
