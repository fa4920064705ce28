"""Segmentation from painted strokes without training: intensity likelihoods, then a graph cut.

MONAI Label has the same two methods: `Histogram+GraphCut` (Boykov and Jolly, ICCV 2001) and `GMM+GraphCut` (Rother et
al., "GrabCut", SIGGRAPH 2004), both with contrast-sensitive neighbour weights. The cut is PyMaxflow's, which is under
the GPL and therefore an extra (`segloop[graph-cut]`); without it, a random walk (Grady, PAMI 2006; scikit-image) is
used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveSession, ModelCard, Option
from app.core.prompt import Box, InitialMask, Prompt, Region, Scribble
from app.core.volume import Index, Volume
from app.errors import BadPrompt
from app.models.checks import check_volume
from app.models.options import chosen
from app.models.registry import ModelType
from app.models.session import PromptSession

Likelihood = Literal["histogram", "gmm"]

_BINS = 32
_COMPONENTS = 5
_MAX_VOXELS = 4_000_000  # of the region that is cut
_GRAPH_BYTES = 250  # per voxel, approximately
_CERTAIN = 1e6  # the cost of assigning a painted voxel to the other side
_OUTSIDE, _INSIDE = 1, 2


class Scribbles:
    """Segments from strokes inside and outside a structure; both are needed. A box limits the region.

    Options: `lambda` weighs smooth borders against intensities; `sigma` is the contrast that makes a border likely, as
    a fraction of the region's intensity range; `margin` is the region's margin around the strokes, in voxels.
    """

    accepts: frozenset[type[Prompt]] = frozenset({Scribble, Box, InitialMask})

    def __init__(self, name: str, likelihood: Likelihood) -> None:
        self._likelihood: Likelihood = likelihood
        cut = "graph cut" if find_spec("maxflow") else "random walk (segloop[graph-cut] is not installed)"
        self.card = ModelCard(
            name=name,
            kind="scribbles",
            description=f"Paint inside and outside the structure: {likelihood} likelihoods, then a {cut}",
            version="1",
            options={"lambda": 1.0, "sigma": 0.1, "margin": 16},
        )

    def open(self, volume: Volume, options: Mapping[str, Option]) -> InteractiveSession:
        """See `InteractiveModel.open`. Raises `BadInput`, `BadOption`."""
        check_volume(volume)
        values = chosen(self.card, options)
        smoothness, sigma, margin = float(values["lambda"]), float(values["sigma"]), int(values["margin"])

        def predict(prompts: Sequence[Prompt], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
            sides = {prompt.include for prompt in prompts if isinstance(prompt, Scribble)}
            if len(sides) < 2:
                return mask
            region = _region(prompts, volume.geometry.shape, margin)
            seeds = _seeds(prompts, region)
            if not ((seeds == _INSIDE).any() and (seeds == _OUTSIDE).any()):
                if any(isinstance(prompt, Box) for prompt in prompts):
                    raise BadPrompt("inside the box there must be strokes on the structure and strokes beside it")
                return mask  # one side was painted over by the other
            image = _scaled(volume.voxels[region.slices])
            chance = _chance(image, seeds, self._likelihood)
            after = mask.copy()
            after[region.slices] = _cut(image, chance, seeds, smoothness, sigma)
            return after

        return PromptSession(volume.geometry.shape, self.accepts, predict, self.card.version)

    def session_bytes(self, volume: Volume) -> int:
        """The mask, the next mask and their difference, and the graph."""
        voxels = volume.geometry.voxel_count
        return 3 * voxels + _GRAPH_BYTES * min(voxels, _MAX_VOXELS)


def _region(prompts: Sequence[Prompt], shape: Index, margin: int) -> Region:
    """The last including box, else the bounding box of all strokes plus the margin. Raises `BadPrompt` if too large."""
    boxes = [prompt.region for prompt in prompts if isinstance(prompt, Box) and prompt.include]
    if boxes:
        region = boxes[-1]
    else:
        strokes = [prompt.region for prompt in prompts if isinstance(prompt, Scribble)]
        around = strokes[0]
        for stroke in strokes[1:]:
            around = around.join(stroke)
        (a, b, c), (d, e, f) = around.low, around.high
        region = Region(
            (max(0, a - margin), max(0, b - margin), max(0, c - margin)),
            (min(shape[0], d + margin), min(shape[1], e + margin), min(shape[2], f + margin)),
        )
    if np.prod(region.shape) > _MAX_VOXELS:
        raise BadPrompt(
            f"the region around the strokes has {np.prod(region.shape):,} voxels, more than {_MAX_VOXELS:,};"
            " draw a box around the structure"
        )
    return region


def _seeds(prompts: Sequence[Prompt], region: Region) -> NDArray[np.int8]:
    """The painted side of each voxel of `region`, 0 for none; later strokes override earlier ones."""
    seeds = np.zeros(region.shape, np.int8)
    for prompt in prompts:
        if isinstance(prompt, Scribble):
            at = np.argwhere(prompt.voxels) + np.subtract(prompt.region.low, region.low)
            at = at[((at >= 0) & (at < region.shape)).all(axis=1)]
            seeds[tuple(at.T)] = _INSIDE if prompt.include else _OUTSIDE
    return seeds


def _scaled(voxels: NDArray[np.generic]) -> NDArray[np.float64]:
    """Intensities scaled to 0..1 over the region; all 0 if it is constant."""
    image = voxels.astype(np.float64)
    image -= image.min()
    highest = image.max()
    return image / highest if highest > 0 else image


def _chance(image: NDArray[np.float64], seeds: NDArray[np.int8], method: Likelihood) -> NDArray[np.float64]:
    """The probability of each voxel to be in the structure, from its intensity alone; strictly between 0 and 1."""
    density = _histogram_density if method == "histogram" else _mixture_density
    inside, outside = density(image, image[seeds == _INSIDE]), density(image, image[seeds == _OUTSIDE])
    return np.clip(inside / (inside + outside), 1e-6, 1 - 1e-6)


def _histogram_density(image: NDArray[np.float64], samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative frequency of each voxel's bin, with add-one smoothing: unseen intensities are unlikely, not
    impossible."""
    counts, _ = np.histogram(samples, bins=_BINS, range=(0.0, 1.0))
    frequency = (counts + 1.0) / (counts.sum() + _BINS)
    return np.asarray(frequency[np.minimum((image * _BINS).astype(np.intp), _BINS - 1)])


def _mixture_density(image: NDArray[np.float64], samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Density of a Gaussian mixture fitted to the samples. A minimum variance allows strokes of constant intensity; a
    minimum density avoids rounding noise far from both sides' intensities."""
    from sklearn.mixture import GaussianMixture

    components = min(_COMPONENTS, np.unique(samples).size)
    fitted = np.resize(samples, max(2, samples.size)).reshape(-1, 1)  # a fit needs two samples, a stroke may have one
    mixture = GaussianMixture(components, reg_covar=1e-4, random_state=0).fit(fitted)
    return np.asarray(np.exp(mixture.score_samples(image.reshape(-1, 1))).reshape(image.shape) + 1e-6)


def _cut(
    image: NDArray[np.float64],
    chance: NDArray[np.float64],
    seeds: NDArray[np.int8],
    smoothness: float,
    sigma: float,
) -> NDArray[np.uint8]:
    """The labelling of minimum cost: `-log` likelihood per voxel, plus
    `lambda exp(-(difference / sigma)^2 / 2)` for each pair of neighbours with different labels. Painted voxels keep
    their side."""
    if not find_spec("maxflow"):
        return _walk(chance, seeds)
    import maxflow

    graph = maxflow.GraphFloat()
    nodes = graph.add_grid_nodes(image.shape)
    for axis in range(3):
        structure = np.zeros((3, 3, 3))
        structure[tuple(2 if a == axis else 1 for a in range(3))] = 1  # the next voxel along this axis
        step = np.diff(image, axis=axis, append=np.take(image, [-1], axis))
        weights = smoothness * np.exp(-0.5 * (step / sigma) ** 2)
        graph.add_grid_edges(nodes, weights, structure=structure, symmetric=True)
    # A voxel on the sink's side is inside and pays the capacity from the source; one on the source's side pays the
    # capacity to the sink.
    inside_costs = np.select([seeds == _INSIDE, seeds == _OUTSIDE], [0.0, _CERTAIN], -np.log(chance))
    outside_costs = np.select([seeds == _OUTSIDE, seeds == _INSIDE], [0.0, _CERTAIN], -np.log1p(-chance))
    graph.add_grid_tedges(nodes, inside_costs, outside_costs)
    graph.maxflow()
    return np.asarray(graph.get_grid_segments(nodes), np.uint8)


def _walk(chance: NDArray[np.float64], seeds: NDArray[np.int8]) -> NDArray[np.uint8]:
    """A random walk on the likelihoods from the painted voxels."""
    from skimage.segmentation import random_walker

    return np.asarray(random_walker(chance, seeds.astype(np.int32), beta=100, mode="cg_j") == _INSIDE, np.uint8)


HISTOGRAM = ModelType(
    "histogram_graphcut", "scribbles", build=lambda name, options, device: Scribbles(name, "histogram")
)
GMM = ModelType("gmm_graphcut", "scribbles", build=lambda name, options, device: Scribbles(name, "gmm"))
