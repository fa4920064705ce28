"""Run a network over channels of any size, window by window, letting clicks go first in between."""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from app.core.progress import Progress
from app.core.volume import Index
from app.errors import BadFile
from app.models.device import Device
from app.models.trained.networks import Loaded

if TYPE_CHECKING:
    import torch

_OVERLAP = 0.25


def window_probabilities(
    loaded: Loaded,
    channels: NDArray[np.float32],
    activation: Literal["softmax", "sigmoid"],
    device: Device,
    progress: Progress,
) -> NDArray[np.float32]:
    """The network's probabilities `(class, k, j, i)` for `channels` `(channel, k, j, i)`, blended from overlapping
    windows of the spec's patch with Gaussian weights (`monai.inferers.sliding_window_inference`).

    Calls `progress`, and lets the device run waiting prompts, before each window. Raises `BadFile` if the network
    doesn't take these channels, and whatever `progress` raises.
    """
    import torch
    from monai.inferers import sliding_window_inference

    patch = loaded.spec.patch
    flat = patch[0] == 1  # a 2D network: windows of one slice, given to it without their first axis
    total = window_count(_space(channels), patch)
    done = 0

    def forward(window: torch.Tensor) -> torch.Tensor:
        nonlocal done
        progress(min(1.0, done / total), "segmenting")
        device.yield_to_prompts()
        done += 1
        try:
            answer = loaded.network(window[:, :, 0] if flat else window)
        except RuntimeError as error:
            if "channels" in str(error):
                raise BadFile(f"the network doesn't take {window.shape[1]} channels: {error}") from error
            raise
        answer = torch.softmax(answer, 1) if activation == "softmax" else torch.sigmoid(answer)
        return answer[:, :, None] if flat else answer

    # Not inference_mode: clicks that run in between would make tensors that can't be written to afterwards.
    with torch.no_grad():
        blended = sliding_window_inference(
            torch.from_numpy(channels[None]),
            roi_size=patch,
            sw_batch_size=1,
            predictor=forward,
            overlap=_OVERLAP,
            mode="gaussian",
            sw_device=loaded.device,
            device="cpu",
        )
    progress(1.0, "segmented")
    probabilities: NDArray[np.float32] = blended[0].float().numpy()
    return probabilities


def window_count(shape: Index, patch: Index) -> int:
    """How many windows of `patch` it takes to cover `shape`, with MONAI's rule for their spacing."""
    steps = [max(1, int(p * (1 - _OVERLAP))) if p < n else p for n, p in zip(shape, patch, strict=True)]
    return prod(1 + ceil(max(0, n - p) / s) for n, p, s in zip(shape, patch, steps, strict=True))


def _space(channels: NDArray[np.float32]) -> Index:
    _, k, j, i = channels.shape
    return k, j, i
