"""The starter model's network: a small U-Net that is handed exact features of the image and the prompts.

nnU-Net builds it by its dotted name from the model folder's ``plans.json``, so this package must be importable
wherever that folder is used. What a network of this size doesn't learn in hours on a processor is computed here: the
image in the patch's own range of greys; how alike a voxel is to what was clicked on, how frequent its intensity is
under the prompts and in the previous mask; its fuzzy connectedness with them (Udupa and Samarasekera, Graphical Models
and Image Processing 58, 1996); and geodesic distances from the prompts (Wang et al., DeepIGeoS, IEEE TPAMI 41, 2019),
which follow a structure and stop at its border.

All tensors are (batch, channels, k, j, i) unless they say otherwise.
"""

from dataclasses import dataclass
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn
from torch.nn.functional import avg_pool3d, interpolate, max_pool3d, pad

IMAGE, PREVIOUS, REGION, POINT, SCRIBBLE = 0, 1, 2, 4, 6
COMPUTED_CHANNELS = 28
PULL_WEIGHT = 8.0
"""What the strongest pull adds to the logits before training, chosen on held-out scenes."""
FLOOD_STEPS = 60
"""Steps of the fuzzy connectedness on its grid of half the patch's size; longer ways than this stay unconnected."""
LEAST_GRAIN = 1e-4
LEAST_NOISE = 0.02
"""The least variance counted as grain, and the least deviation counted as noise, in units of the image's standard
deviation."""
BINS = 96
BIN_REACH = 6.0
"""Intensities are binned by the inverse hyperbolic sine of their distance from the reference, up to this."""
SWEEPS = 4
"""Passes over the three axes for a geodesic distance; ways with more turns are found too long."""
FAR = 1e3
STEP = 0.05
"""Cost of a step between voxels of equal intensity, in units of the noise."""


class StarterUNet(nn.Module):
    """A plain U-Net over the session's eight channels and the computed ones, and a pull: a prompt that the previous
    mask doesn't obey yet pulls what hangs together with it to its side."""

    def __init__(self, input_channels: int, num_classes: int, deep_supervision: bool = False, **kwargs: Any) -> None:
        """Takes nnU-Net's architecture arguments and hands them to the U-Net, with more input channels."""
        super().__init__()
        self.unet = PlainConvUNet(
            input_channels=input_channels + COMPUTED_CHANNELS,
            num_classes=num_classes,
            deep_supervision=deep_supervision,
            **kwargs,
        )
        self.pull = nn.Parameter(torch.tensor([PULL_WEIGHT, -PULL_WEIGHT]))
        self.initialize = PlainConvUNet.initialize

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        """Logits (batch, 2, k, j, i) of an input (batch, 8, k, j, i)."""
        with torch.no_grad(), torch.autocast(patch.device.type, enabled=False):
            computed, pulls = features(patch.float())
        logits: torch.Tensor = self.unet(torch.cat([patch, *(part.to(patch.dtype) for part in computed)], 1))
        inside = (pulls * self.pull.view(1, 2, 1, 1, 1)).sum(1, keepdim=True) / 2
        return logits + torch.cat([-inside, inside], 1)


def features(patch: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """What a network input (batch, 8, k, j, i) is widened by, in order: `likeness`, `frequencies`, `distances` and
    `local`; and the pulls (batch, 2, k, j, i), which are the last two channels of `distances`."""
    seen = _seen(patch)
    frequent = frequencies(seen)
    away = distances(seen, frequent[:, :1])
    return [likeness(seen), frequent, away, local(seen)], away[:, -2:]


@dataclass(frozen=True)
class _Seen:
    """What a patch shows, each (batch, 1, k, j, i).

    `smooth` is the mean of `image` over 3x3x3 voxels and `grain` the squared difference. `included` and `excluded` are
    the points and scribbles, `near` wherever there is any of them, `drawn` the included boxes and lassos, `previous`
    the mask so far. `scaled` is `smooth` relative to the included intensity, in units of the noise there.
    """

    image: torch.Tensor
    smooth: torch.Tensor
    grain: torch.Tensor
    included: torch.Tensor
    excluded: torch.Tensor
    near: torch.Tensor
    drawn: torch.Tensor
    previous: torch.Tensor
    scaled: torch.Tensor

    @property
    def disobeyed(self) -> list[torch.Tensor]:
        """The prompts that the previous mask doesn't obey: including ones, excluding ones."""
        included, excluded = self.included.clamp(0, 1), self.excluded.clamp(0, 1)
        return [included * (self.previous < 0.5), excluded * (self.previous >= 0.5)]


def _seen(patch: torch.Tensor) -> _Seen:
    image = patch[:, IMAGE : IMAGE + 1]
    smooth = _mean_around(image)
    included = patch[:, POINT : POINT + 1] ** 4 + patch[:, SCRIBBLE : SCRIBBLE + 1]
    excluded = patch[:, POINT + 1 : POINT + 2] ** 4 + patch[:, SCRIBBLE + 1 : SCRIBBLE + 2]
    near = patch[:, POINT : POINT + 2].sum(1, keepdim=True) + patch[:, SCRIBBLE : SCRIBBLE + 2].sum(1, keepdim=True)
    drawn = patch[:, REGION : REGION + 1]
    previous = patch[:, PREVIOUS : PREVIOUS + 1]
    grain = (image - smooth) ** 2
    noise = first_present((grain, near), (grain, drawn), (grain, previous)).sqrt().clamp_min(LEAST_NOISE)
    reference = first_present((smooth, included.clamp(0, 1)), (smooth, previous), (smooth, drawn))
    scaled = (smooth - reference) / noise
    return _Seen(image, smooth, grain, included, excluded, near, drawn, previous, scaled)


def likeness(seen: _Seen) -> torch.Tensor:
    """Nine channels between -1 and 1.

    Six of likeness: the smoothed image is compared with the mean under the included points and scribbles, and with
    the mean inside the previous mask, each difference in units of the noise around the prompt. Where one of the
    references is missing the other one is used, at last the drawn boxes and lassos.

    Three of connectedness on every other voxel, spread back over all: with the included prompts by likeness to
    those, with the previous mask and the included prompts by likeness to that mask, and with the excluding prompts
    by likeness to them.
    """
    smooth, grain = seen.smooth, seen.grain
    smoother = _mean_around(smooth)
    noise = first_present((grain, seen.near), (grain, seen.drawn), (grain, seen.previous)).clamp_min(LEAST_GRAIN).sqrt()
    by_click = first_present((smooth, seen.included), (smooth, seen.previous), (smooth, seen.drawn))
    by_mask = first_present((smooth, seen.previous), (smooth, seen.included), (smooth, seen.drawn))
    by_exclusion = first_present((smooth, seen.excluded))
    channels = []
    for reference in (by_click, by_mask):
        fine = (smooth - reference) / noise
        coarse = (smoother - reference) / noise
        channels += [torch.tanh(fine / 4), torch.exp(-(fine**2) / 2), torch.exp(-2 * coarse**2)]
    level = _half(smooth)
    alike = [torch.exp(-(((level - reference) / noise) ** 2) / 2) for reference in (by_click, by_mask, by_exclusion)]
    seeds = [torch.maximum(seen.included, seen.drawn), torch.maximum(seen.included, seen.previous), seen.excluded]
    planted = max_pool3d(torch.cat(seeds, 1).clamp(0, 1), 2, ceil_mode=True)
    return torch.cat([*channels, _spread(connectedness(torch.cat(alike, 1), planted), smooth)], 1)


def frequencies(seen: _Seen) -> torch.Tensor:
    """Four channels: how frequent an intensity is under the included prompts, under the excluded ones and in the
    previous mask, and its difference from that under the included ones at low contrast. Where a reference is missing
    another one is used, at last the drawn boxes and lassos."""
    bins = ((torch.asinh(seen.scaled) / BIN_REACH).clamp(-1, 1) * ((BINS - 1) / 2) + (BINS - 1) / 2).round().long()
    included, excluded = seen.included.clamp(0, 1), seen.excluded.clamp(0, 1)
    shown = included.sum((2, 3, 4), keepdim=True) > 0.5
    masked = seen.previous.sum((2, 3, 4), keepdim=True) > 0.5
    source = torch.where(shown, included, torch.where(masked, seen.previous, seen.drawn))
    like = frequency(bins, source)
    like_mask = frequency(bins, torch.where(masked, seen.previous, source))
    return torch.cat([like, frequency(bins, excluded), like_mask, torch.tanh(seen.scaled / 16)], 1)


def distances(seen: _Seen, alike: torch.Tensor) -> torch.Tensor:
    """Nine channels, computed on every other voxel and spread back over all: geodesic distances from the included and
    from the excluded prompts by steps of intensity, from the included ones by how little voxels are `alike` (from 0 to
    1), plain ones from the prompts that the previous mask doesn't obey yet, which side is nearer, for all prompts and
    for the latter, and what pulls to either side: near a prompt that isn't obeyed yet, and no edge between."""
    planted = _planted([seen.included.clamp(0, 1), seen.excluded.clamp(0, 1), *seen.disobeyed])
    edges = _edge_costs(_half(seen.scaled).clamp(-60, 60))
    by_edges = geodesic(planted, running_costs(edges))
    by_intensity = geodesic(planted[:, :1], running_costs(_stay_costs(1 - _half(alike))))
    plain = _plain(planted[:, 2:])
    inside, outside = by_edges[:, ::2], by_edges[:, 1::2]
    contest = (outside - inside) / (outside + inside + 1)
    pulls = torch.exp(-plain / 5 - by_edges[:, 2:] / 4)
    known = [torch.log1p(by_edges[:, :2]) / 4, torch.log1p(by_intensity) / 4, torch.exp(-plain / 6), contest, pulls]
    return _spread(torch.cat(known, 1), seen.image)


def local(seen: _Seen) -> torch.Tensor:
    """Six channels.

    The image between the 2nd and the 98th percentile of the patch, from -1 to 1: an image is normalised as a whole, so
    that beside air and bone the soft tissues of a CT hardly differ. The image against the mean around what is included,
    in units of the mean deviation there. How near the included and the excluded prompts are, at two widths each.
    """
    image = seen.image
    few = image[..., ::2, ::2, ::2].flatten(1)
    few = torch.where(few == 0, torch.nan, few)  # beyond the image there are zeros
    low, high = few.nanquantile(torch.tensor([0.02, 0.98], device=image.device), 1).nan_to_num().view(2, -1, 1, 1, 1, 1)
    ranged = ((image - low) / (high - low).clamp_min(1e-3)).clamp(-0.1, 1.1) * 2 - 1

    away = _plain(_planted([seen.included.clamp(0, 1), seen.excluded.clamp(0, 1)]))
    near = _spread(torch.cat([torch.exp(-away / 2), torch.exp(-away / 8)], 1), image)
    present = image != 0
    candidates = (near[:, 2:3], seen.previous, seen.drawn, torch.ones_like(image))
    mean = first_present(*((image, weights * present) for weights in candidates))
    deviation = first_present(*(((image - mean).abs(), weights * present) for weights in candidates))
    compared = torch.tanh((image - mean) / (2 * deviation).clamp_min(1e-3))
    return torch.cat([ranged, compared, near], 1)


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


def _mean_around(values: torch.Tensor) -> torch.Tensor:
    return avg_pool3d(values, 3, 1, 1, count_include_pad=False)


def _half(values: torch.Tensor) -> torch.Tensor:
    return avg_pool3d(values, 2, ceil_mode=True, count_include_pad=False)


def _spread(half: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return interpolate(half, like.shape[2:], mode="nearest")


def _planted(seeds: list[torch.Tensor]) -> torch.Tensor:
    return max_pool3d(torch.cat(seeds, 1), 2, ceil_mode=True) > 0.3


def _plain(planted: torch.Tensor) -> torch.Tensor:
    """Euclidean distances in voxels, squared along one axis after the other (Felzenszwalb and Huttenlocher, Theory of
    Computing 8, 2012); `FAR` where nothing is planted."""
    squared = torch.where(planted, 0.0, FAR**2)
    for axis, size in enumerate(planted.shape[2:], start=2):
        nearest = squared.clone()
        for away in range(1, size):
            ahead, back = squared.narrow(axis, 0, size - away), squared.narrow(axis, away, size - away)
            target = nearest.narrow(axis, away, size - away)
            torch.minimum(target, ahead + away**2, out=target)
            target = nearest.narrow(axis, 0, size - away)
            torch.minimum(target, back + away**2, out=target)
        squared = nearest
    return squared.sqrt_().clamp_(max=FAR)
