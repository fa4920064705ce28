"""The starter model's network: a small U-Net that is handed exact features of the prompts.

nnU-Net builds it by its dotted name from the model folder's ``plans.json``, so this package must be importable wherever
that folder is used. What a network of this size doesn't learn in hours on a processor is computed here: how alike a
voxel is to what was clicked on, how frequent its intensity is under the prompts and in the previous mask, its
fuzzy connectedness with them (Udupa and Samarasekera, Graphical Models and Image Processing 58, 1996), and geodesic
distances from the prompts (Wang et al., DeepIGeoS, IEEE TPAMI 41, 2019), which follow a structure and stop at its
border.
"""

from dataclasses import dataclass
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn
from torch.nn.functional import avg_pool3d, interpolate, max_pool3d, pad

from app.models.demo_network import CONNECTED_CHANNELS, LIKENESS_CHANNELS, ClickUNet, likeness

IMAGE, PREVIOUS, REGION, POINT, SCRIBBLE = 0, 1, 2, 4, 6
FREQUENCY_CHANNELS = 4
DISTANCE_CHANNELS = 9
PULLS = slice(-2, None)
"""The last two of all computed channels: how strongly a prompt that isn't obeyed yet pulls a voxel to its side."""
PULL_WEIGHT = 8.0
"""What the strongest pull adds to the logits before training, chosen on held-out scenes."""
HEAD_WIDTH = 24
NOISE_FLOOR = 0.02
"""The least deviation counted as noise, in units of the image's standard deviation."""
BINS = 96
BIN_REACH = 6.0
"""Intensities are binned by the inverse hyperbolic sine of their distance from the reference, up to this."""
SWEEPS = 4
"""Passes over the three axes for a geodesic distance; ways with more turns are found too long."""
FAR = 1e3
STEP = 0.05
"""Cost of a step between voxels of equal intensity, in units of the noise."""


def _weighted_mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    axes = (2, 3, 4)
    return (values * weights).sum(axes, keepdim=True) / weights.sum(axes, keepdim=True).clamp_min(1e-6)


def first_present(*candidates: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Per sample the weighted mean (batch, 1, 1, 1, 1) of the first (values, weights) pair with any weight, else 0."""
    first = candidates[0][0]
    result = torch.zeros(first.shape[0], 1, 1, 1, 1, device=first.device)
    settled = torch.zeros_like(result, dtype=torch.bool)
    for values, weights in candidates:
        present = weights.sum((2, 3, 4), keepdim=True) > 0.5
        result = torch.where(present & ~settled, _weighted_mean(values, weights), result)
        settled = settled | present
    return result


def frequency(bins: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """How frequent each voxel's intensity is under some weights, 1 for the most frequent; 0 everywhere without any.

    ``bins`` int64 and ``weights`` float, both (batch, 1, k, j, i).
    """
    batch = bins.shape[0]
    counts = torch.zeros(batch, BINS, device=weights.device)
    counts.scatter_add_(1, bins.flatten(1), weights.flatten(1))
    width = torch.arange(-9, 10, device=weights.device, dtype=weights.dtype)
    kernel = torch.exp(-0.5 * (width / 3) ** 2)
    smooth = nn.functional.conv1d(pad(counts[:, None], (9, 9), mode="replicate"), kernel[None, None])[:, 0]
    smooth = smooth / smooth.amax(1, keepdim=True).clamp_min(1e-6)
    return smooth.gather(1, bins.flatten(1)).view(bins.shape)


def _prefix_minimum(values: torch.Tensor, axis: int) -> torch.Tensor:
    """The smallest value up to each place along an axis, in place, by doubling."""
    size, reach = values.shape[axis], 1
    while reach < size:
        shifted = values.narrow(axis, 0, size - reach).clone()
        later = values.narrow(axis, reach, size - reach)
        torch.minimum(later, shifted, out=later)
        reach *= 2
    return values


def geodesic(seeds: torch.Tensor, along: list[torch.Tensor], sweeps: int = SWEEPS) -> torch.Tensor:
    """Cheapest ways over face neighbours from the ``seeds`` to every voxel; all tensors (batch, channels, k, j, i).

    ``along`` gives for each axis the running total of the cost of its steps, 0 at the first voxel: with it the cheapest
    ways along a whole line are two running minima. `FAR` where nothing was reached.
    """
    distance = torch.where(seeds, 0.0, FAR)
    for _ in range(sweeps):
        for axis, total in enumerate(along, start=2):
            ahead = _prefix_minimum(distance - total, axis).add_(total)
            back = _prefix_minimum((distance + total).flip(axis), axis).flip(axis).sub_(total)
            distance = torch.minimum(ahead, back)
    return distance.clamp_(max=FAR)


def running_costs(step_costs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Running totals, 0 first, of the costs between neighbours along each axis (one voxel less on that axis)."""
    totals = []
    for axis, costs in enumerate(step_costs, start=2):
        first = torch.zeros_like(costs.narrow(axis, 0, 1))
        totals.append(torch.cat([first, costs.cumsum(axis)], axis))
    return totals


def _between(values: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    size = values.shape[axis]
    return values.narrow(axis, 0, size - 1), values.narrow(axis, 1, size - 1)


def _edge_costs(image: torch.Tensor) -> list[torch.Tensor]:
    """Cost of stepping between neighbours by the difference of their intensities in units of the noise."""
    costs = []
    for axis in range(2, 5):
        here, there = _between(image, axis)
        difference = (here - there).abs()
        costs.append(difference**2 / (1 + difference) + STEP)
    return costs


def _stay_costs(unlike: torch.Tensor) -> list[torch.Tensor]:
    """Cost of stepping through voxels by how ``unlike`` they are."""
    return [sum(_between(unlike, axis), start=torch.zeros(())) / 2 + STEP / 2 for axis in range(2, 5)]


@dataclass(frozen=True)
class _Seen:
    """What a patch shows, each (batch, 1, k, j, i): what is included and excluded, drawn, the previous mask, and the
    smoothed image's difference from the included intensity in units of the noise there."""

    included: torch.Tensor
    excluded: torch.Tensor
    drawn: torch.Tensor
    previous: torch.Tensor
    scaled: torch.Tensor

    @property
    def disobeyed(self) -> list[torch.Tensor]:
        """The prompts that the previous mask doesn't obey: including ones, excluding ones."""
        return [self.included * (self.previous < 0.5), self.excluded * (self.previous >= 0.5)]


def _seen(patch: torch.Tensor) -> _Seen:
    patch = patch.float()
    image = patch[:, IMAGE : IMAGE + 1]
    smooth = avg_pool3d(image, 3, 1, 1, count_include_pad=False)
    included = (patch[:, POINT : POINT + 1] ** 4 + patch[:, SCRIBBLE : SCRIBBLE + 1]).clamp(0, 1)
    excluded = (patch[:, POINT + 1 : POINT + 2] ** 4 + patch[:, SCRIBBLE + 1 : SCRIBBLE + 2]).clamp(0, 1)
    drawn = patch[:, REGION : REGION + 1]
    previous = patch[:, PREVIOUS : PREVIOUS + 1]
    near = patch[:, POINT : POINT + 2].sum(1, keepdim=True) + patch[:, SCRIBBLE : SCRIBBLE + 2].sum(1, keepdim=True)
    grain = (image - smooth) ** 2
    noise = first_present((grain, near), (grain, drawn), (grain, previous)).sqrt().clamp_min(NOISE_FLOOR)
    reference = first_present((smooth, included), (smooth, previous), (smooth, drawn))
    return _Seen(included, excluded, drawn, previous, (smooth - reference) / noise)


def distances(patch: torch.Tensor) -> list[torch.Tensor]:
    """What a network input (batch, 8, k, j, i) is widened by besides `likeness`: together (batch, 13, k, j, i).

    Four from the intensity: how frequent it is under the included prompts, under the excluded ones and in the previous
    mask, and its difference from that under the included ones at low contrast. Where a reference is missing another
    one is used, at last the drawn boxes and lassos.

    Nine of distance, on every other voxel, spread back over all: geodesic ones from the included and from the excluded
    prompts by steps of intensity, from the included ones by unlikeness, plain ones from the prompts that the previous
    mask doesn't obey yet, which side is nearer, for all prompts and for the latter, and what pulls to either side: near
    a prompt that isn't obeyed yet, and no edge between.
    """
    seen = _seen(patch)
    bins = ((torch.asinh(seen.scaled) / BIN_REACH).clamp(-1, 1) * ((BINS - 1) / 2) + (BINS - 1) / 2).round().long()
    shown = seen.included.sum((2, 3, 4), keepdim=True) > 0.5
    masked = seen.previous.sum((2, 3, 4), keepdim=True) > 0.5
    source = torch.where(shown, seen.included, torch.where(masked, seen.previous, seen.drawn))
    like = frequency(bins, source)
    like_mask = frequency(bins, torch.where(masked, seen.previous, source))
    intensity = [like, frequency(bins, seen.excluded), like_mask, torch.tanh(seen.scaled / 16)]
    seeds = [seen.included, seen.excluded, *seen.disobeyed]
    half = _distances(_half(seen.scaled).clamp(-60, 60), 1 - _half(like), seeds)
    return [*intensity, interpolate(half, patch.shape[2:], mode="nearest")]


def pulls(patch: torch.Tensor) -> torch.Tensor:
    """The last two channels of `distances` alone, (batch, 2, k, j, i)."""
    seen = _seen(patch)
    planted = _planted(seen.disobeyed)
    edges = _edge_costs(_half(seen.scaled).clamp(-60, 60))
    half = _pull(_plain(planted, edges), geodesic(planted, running_costs(edges)))
    return interpolate(half, patch.shape[2:], mode="nearest")


def _half(values: torch.Tensor) -> torch.Tensor:
    return avg_pool3d(values, 2, ceil_mode=True, count_include_pad=False)


def _planted(seeds: list[torch.Tensor]) -> torch.Tensor:
    return max_pool3d(torch.cat(seeds, 1), 2, ceil_mode=True) > 0.3


def _plain(planted: torch.Tensor, edges: list[torch.Tensor]) -> torch.Tensor:
    """Distances in steps. Nothing is in the way of them, so one sweep finds them."""
    return geodesic(planted, running_costs([torch.ones_like(costs) for costs in edges]), sweeps=1)


def _pull(plain: torch.Tensor, by_edges: torch.Tensor) -> torch.Tensor:
    return torch.exp(-plain / 5 - by_edges / 4)


def _distances(level: torch.Tensor, unlike: torch.Tensor, seeds: list[torch.Tensor]) -> torch.Tensor:
    """The channels of distance at half size: (batch, 9, k, j, i)."""
    planted = _planted(seeds)
    edges = _edge_costs(level)
    by_edges = geodesic(planted, running_costs(edges))
    by_intensity = geodesic(planted[:, :1], running_costs(_stay_costs(unlike)))
    plain = _plain(planted[:, 2:], edges)
    inside, outside = by_edges[:, ::2], by_edges[:, 1::2]
    contest = (outside - inside) / (outside + inside + 1)
    known = [torch.log1p(by_edges[:, :2]) / 4, torch.log1p(by_intensity) / 4, torch.exp(-plain / 6), contest]
    return torch.cat([*known, _pull(plain, by_edges[:, 2:])], 1)


class PulledUNet(ClickUNet):
    """The demo model's network, in which a prompt that the previous mask doesn't obey yet pulls what hangs together
    with it to its side."""

    def __init__(self, input_channels: int, num_classes: int, deep_supervision: bool = False, **kwargs: Any) -> None:
        super().__init__(input_channels, num_classes, deep_supervision, **kwargs)
        self.pull = nn.Parameter(torch.tensor([PULL_WEIGHT, -PULL_WEIGHT]))

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        """Logits (batch, 2, k, j, i) of an input (batch, 8, k, j, i)."""
        logits = super().forward(patch)
        with torch.no_grad(), torch.autocast(patch.device.type, enabled=False):
            found = pulls(patch)
        inside = (found * self.pull.view(1, 2, 1, 1, 1)).sum(1, keepdim=True) / 2
        return logits + torch.cat([-inside, inside], 1)


class StarterUNet(nn.Module):
    """A plain U-Net over the session's eight channels and the computed ones, and a head that decides voxel by voxel.

    The head can be fitted to samples of voxels, which takes minutes where the U-Net takes hours.
    """

    def __init__(self, input_channels: int, num_classes: int, deep_supervision: bool = False, **kwargs: Any) -> None:
        """Takes nnU-Net's architecture arguments and hands them to the U-Net, with more input channels."""
        super().__init__()
        more = LIKENESS_CHANNELS + CONNECTED_CHANNELS + FREQUENCY_CHANNELS + DISTANCE_CHANNELS
        self.unet = PlainConvUNet(
            input_channels=input_channels + more,
            num_classes=num_classes,
            deep_supervision=deep_supervision,
            **kwargs,
        )
        self.direct = nn.Conv3d(more, 1, 1, bias=False)
        width = self.unet.decoder.seg_layers[-1].in_channels + 2
        self.head = nn.Sequential(
            nn.Conv3d(more + width, HEAD_WIDTH, 1), nn.LeakyReLU(0.01, inplace=True), nn.Conv3d(HEAD_WIDTH, 1, 1)
        )
        self.initialize = PlainConvUNet.initialize

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        """Logits (batch, 2, k, j, i) of an input (batch, 8, k, j, i)."""
        logits, channels = self.judge(patch)
        inside = self.direct(channels[:, : self.direct.in_channels]) + self.head(channels)
        return logits + torch.cat([-inside, inside], 1) / 2

    def judge(self, patch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The U-Net's logits (batch, 2, k, j, i), and all that the head decides by: the computed channels, the U-Net's
        last features, and by how much its logits differ, here and around."""
        with torch.no_grad(), torch.autocast(patch.device.type, enabled=False):
            extra = torch.cat([*likeness(patch), *distances(patch)], 1).to(patch.dtype)
        skips = self.unet.encoder(torch.cat([patch, extra], 1))
        decoder = self.unet.decoder
        deep = skips.pop()
        for widen, stage in zip(decoder.transpconvs, decoder.stages, strict=True):
            deep = stage(torch.cat([widen(deep), skips.pop()], 1))
        logits: torch.Tensor = decoder.seg_layers[-1](deep)
        margin = (logits[:, 1:] - logits[:, :1]).clamp(-10, 10) / 4
        around = avg_pool3d(margin.float(), 5, 1, 2, count_include_pad=False)
        return logits, torch.cat([extra, deep, margin, around], 1)

    def start_head(self) -> None:
        """Let the linear term only obey, and the head do nothing: a prompt that isn't obeyed yet pulls what hangs
        together with it to its side."""
        with torch.no_grad():
            self.direct.weight.zero_()
            self.direct.weight[0, PULLS, 0, 0, 0] = torch.tensor([PULL_WEIGHT, -PULL_WEIGHT])
            for parameter in self.head[-1].parameters():
                parameter.zero_()
