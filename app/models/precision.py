"""What networks compute in: float32, or half of it where the hardware is faster that way.

On processors with bfloat16 units (AMX, AVX-512 BF16) a 3D network runs two to four times faster in bfloat16; on all
others it runs slower. There is no flag to read that says so, hence a one-off timing.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "fp16"]
PrecisionChoice = Literal["auto", "fp32", "bf16", "fp16"]

_WORTH_IT = 1.2  # below this gain, rounding to bfloat16 isn't worth it


def choose(choice: PrecisionChoice, device: str) -> Precision:
    """The precision for a torch device (`cpu`, `cuda:N`): `auto` is fp16 on a card, and on the processor bf16 where a
    timing says that it is faster."""
    if choice != "auto":
        return choice
    if device.startswith("cuda"):
        return "fp16"
    full, half = _seconds("fp32"), _seconds("bf16")
    return "bf16" if full > _WORTH_IT * half else "fp32"


def in_precision(network: torch.nn.Module, precision: Precision, device: str) -> torch.nn.Module:
    """`network` as a module that computes in `precision` on `device` and answers in float32."""
    import torch

    if precision == "fp32":
        return network
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    kind = torch.device(device).type

    class Autocast(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast(kind, dtype=dtype):
                answer: torch.Tensor = self.network(x)
            return answer.float()

    return Autocast().train(network.training)


def _seconds(precision: Precision) -> float:
    """The best of five of a 3D convolution like those of a small U-Net on the processor; the first run warms up."""
    import torch

    network = in_precision(torch.nn.Conv3d(16, 16, 3, padding=1), precision, "cpu")
    image = torch.ones(1, 16, 32, 32, 32)
    best = float("inf")
    with torch.no_grad():
        network(image)
        for _ in range(5):
            start = perf_counter()
            network(image)
            best = min(best, perf_counter() - start)
    return best
