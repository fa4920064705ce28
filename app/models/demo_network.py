"""The demo model's network: a small U-Net that is shown what each voxel has in common with what was clicked on.

nnU-Net builds it by its dotted name from the model folder's ``plans.json``, so this package must be importable
wherever that folder is used. A plain U-Net would have to learn from the raw channels alone to compare every voxel
with the clicked one and to follow an object through the whole patch; within an hour on one processor core it does
not, so both are computed here: the likeness of a voxel, and its fuzzy connectedness with the prompts (Udupa and
Samarasekera, Graphical Models and Image Processing 58, 1996): the weakest likeness on the best way there.
"""

from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn
from torch.nn.functional import avg_pool3d, interpolate, max_pool3d

IMAGE, PREVIOUS, REGION, POINT, SCRIBBLE = 0, 1, 2, 4, 6
LIKENESS_CHANNELS = 6
CONNECTED_CHANNELS = 3
FLOOD_STEPS = 60
"""Steps of the fuzzy connectedness on its grid of half the patch's size; longer ways than this stay unconnected."""
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


def connectedness(alike: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
    """Fuzzy connectedness of every voxel with the ``seeds``; all arrays (batch, channels, k, j, i) from 0 to 1.

    Of all ways from a seed over face neighbours the best one counts, and of a way its least ``alike`` voxel.
    """
    reached = torch.minimum(seeds, alike)
    for _ in range(FLOOD_STEPS):
        spread = reached.clone()
        for axis, size in enumerate(reached.shape[2:], start=2):
            for here, there in ((1, 0), (0, 1)):  # shifted views: thirty times as fast as max_pool3d on a processor
                target = spread.narrow(axis, here, size - 1)
                torch.maximum(target, reached.narrow(axis, there, size - 1), out=target)
        reached = torch.minimum(spread, alike)
    return reached


def likeness(patch: torch.Tensor) -> list[torch.Tensor]:
    """What a network input (batch, 8, k, j, i) is widened by: together (batch, 9, k, j, i), all between -1 and 1.

    Six of likeness: the smoothed image is compared with the mean under the included points and scribbles, and with
    the mean inside the previous mask, each difference in units of the noise around the prompt. Where one of the
    references is missing the other one is used, at last the drawn boxes and lassos.

    Three of connectedness on every other voxel, spread back over all: with the included prompts by likeness to
    those, with the previous mask and the included prompts by likeness to that mask, and with the excluding prompts
    by likeness to them.
    """
    patch = patch.float()
    image = patch[:, IMAGE : IMAGE + 1]
    smooth = avg_pool3d(image, 3, 1, 1, count_include_pad=False)
    smoother = avg_pool3d(smooth, 3, 1, 1, count_include_pad=False)
    clicked = patch[:, POINT : POINT + 1] ** 4 + patch[:, SCRIBBLE : SCRIBBLE + 1]
    drawn = patch[:, REGION : REGION + 1]
    previous = patch[:, PREVIOUS : PREVIOUS + 1]
    excluded = patch[:, POINT + 1 : POINT + 2] ** 4 + patch[:, SCRIBBLE + 1 : SCRIBBLE + 2]
    near = patch[:, POINT : POINT + 2].sum(1, keepdim=True) + patch[:, SCRIBBLE : SCRIBBLE + 2].sum(1, keepdim=True)
    grain = (image - smooth) ** 2
    noise = _first_present((grain, near), (grain, drawn), (grain, previous)).clamp_min(NOISE_FLOOR).sqrt()
    by_click = _first_present((smooth, clicked), (smooth, previous), (smooth, drawn))
    by_mask = _first_present((smooth, previous), (smooth, clicked), (smooth, drawn))
    by_exclusion = _first_present((smooth, excluded))
    channels = []
    for reference in (by_click, by_mask):
        fine = (smooth - reference) / noise
        coarse = (smoother - reference) / noise
        channels += [torch.tanh(fine / 4), torch.exp(-(fine**2) / 2), torch.exp(-2 * coarse**2)]
    level = avg_pool3d(smooth, 2, ceil_mode=True, count_include_pad=False)
    alike = [torch.exp(-(((level - reference) / noise) ** 2) / 2) for reference in (by_click, by_mask, by_exclusion)]
    seeds = torch.cat([torch.maximum(clicked, drawn), torch.maximum(clicked, previous), excluded], 1)
    connected = connectedness(torch.cat(alike, 1), max_pool3d(seeds.clamp(0, 1), 2, ceil_mode=True))
    return [*channels, interpolate(connected, patch.shape[2:], mode="nearest")]


class ClickUNet(nn.Module):
    """A plain U-Net over the session's eight channels and the likeness channels."""

    def __init__(self, input_channels: int, num_classes: int, deep_supervision: bool = False, **kwargs: Any) -> None:
        """Takes nnU-Net's architecture arguments and hands them to the U-Net, with more input channels."""
        super().__init__()
        self.unet = PlainConvUNet(
            input_channels=input_channels + LIKENESS_CHANNELS + CONNECTED_CHANNELS,
            num_classes=num_classes,
            deep_supervision=deep_supervision,
            **kwargs,
        )
        self.initialize = PlainConvUNet.initialize

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        """Logits (batch, 2, k, j, i) of an input (batch, 8, k, j, i)."""
        with torch.no_grad(), torch.autocast(patch.device.type, enabled=False):
            extra = likeness(patch)
        logits: torch.Tensor = self.unet(torch.cat([patch, *(channel.to(patch.dtype) for channel in extra)], 1))
        return logits
