"""The demo model's network: a small U-Net that is shown how much each voxel looks like what was clicked on.

nnU-Net builds it by its dotted name from the model folder's ``plans.json``, so this package must be importable
wherever that folder is used. A plain U-Net would have to learn from the raw channels alone to compare every voxel
with the clicked one; within an hour on one processor core it does not, so that comparison is computed here.
"""

from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn
from torch.nn.functional import avg_pool3d

IMAGE, PREVIOUS, REGION, POINT, SCRIBBLE = 0, 1, 2, 4, 6
LIKENESS_CHANNELS = 6
NOISE_FLOOR = 1e-4


def _weighted_mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean of ``values`` under ``weights`` per sample, both (batch, 1, k, j, i); 0 where the weights vanish."""
    axes = (2, 3, 4)
    total = weights.sum(axes, keepdim=True)
    return (values * weights).sum(axes, keepdim=True) / total.clamp_min(1e-6)


def _first_present(*candidates: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Per sample the mean (batch, 1, 1, 1, 1) of the first (values, weights) pair whose weights do not vanish."""
    first = candidates[0][0]
    result = torch.zeros(first.shape[0], 1, 1, 1, 1, device=first.device)
    settled = torch.zeros_like(result, dtype=torch.bool)
    for values, weights in candidates:
        present = weights.sum((2, 3, 4), keepdim=True) > 0.5
        result = torch.where(present & ~settled, _weighted_mean(values, weights), result)
        settled = settled | present
    return result


def likeness(patch: torch.Tensor) -> torch.Tensor:
    """Likeness channels (batch, 6, k, j, i) of a network input (batch, 8, k, j, i), all between -1 and 1.

    The smoothed image is compared with the mean under the included points and scribbles, and with the mean inside
    the previous mask, each difference in units of the noise around the prompt. Where one of the references is
    missing the other one is used, at last the drawn boxes and lassos.
    """
    patch = patch.float()
    image = patch[:, IMAGE : IMAGE + 1]
    smooth = avg_pool3d(image, 3, 1, 1, count_include_pad=False)
    smoother = avg_pool3d(smooth, 3, 1, 1, count_include_pad=False)
    clicked = patch[:, POINT : POINT + 1] ** 4 + patch[:, SCRIBBLE : SCRIBBLE + 1]
    drawn = patch[:, REGION : REGION + 1]
    previous = patch[:, PREVIOUS : PREVIOUS + 1]
    near = patch[:, POINT : POINT + 2].sum(1, keepdim=True) + patch[:, SCRIBBLE : SCRIBBLE + 2].sum(1, keepdim=True)
    grain = (image - smooth) ** 2
    noise = _first_present((grain, near), (grain, drawn), (grain, previous)).clamp_min(NOISE_FLOOR).sqrt()
    by_click = _first_present((smooth, clicked), (smooth, previous), (smooth, drawn))
    by_mask = _first_present((smooth, previous), (smooth, clicked), (smooth, drawn))
    channels = []
    for reference in (by_click, by_mask):
        fine = (smooth - reference) / noise
        coarse = (smoother - reference) / noise
        channels += [torch.tanh(fine / 4), torch.exp(-(fine**2) / 2), torch.exp(-2 * coarse**2)]
    return torch.cat(channels, 1)


class ClickUNet(nn.Module):
    """A plain U-Net over the session's eight channels and the likeness channels."""

    def __init__(self, input_channels: int, num_classes: int, deep_supervision: bool = False, **kwargs: Any) -> None:
        """Takes nnU-Net's architecture arguments and hands them to the U-Net, with more input channels."""
        super().__init__()
        self.unet = PlainConvUNet(
            input_channels=input_channels + LIKENESS_CHANNELS,
            num_classes=num_classes,
            deep_supervision=deep_supervision,
            **kwargs,
        )
        self.initialize = PlainConvUNet.initialize

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        """Logits (batch, 2, k, j, i) of an input (batch, 8, k, j, i)."""
        with torch.no_grad(), torch.autocast(patch.device.type, enabled=False):
            extra = likeness(patch)
        logits: torch.Tensor = self.unet(torch.cat([patch, extra.to(patch.dtype)], 1))
        return logits
