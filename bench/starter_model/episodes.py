"""Training samples as live episodes: the network's own mask, the next prompt on its largest error, the next patch.

An episode follows one structure through a few prompts as the session would: each patch is centred on the newest prompt,
older prompts are faded, the previous mask is what the network last said. The forward pass of a training step is also
the episode's prediction, so the corrections cost no extra pass. Some episodes start from a flawed mask, so that
large errors keep being seen once the network rarely makes them; some from a coarse one without a prompt nearby, as
the session's refinement after zooming out.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from bench.starter_model.bank import Sample
from bench.starter_model.phantoms import normalise
from bench.starter_model.prompts import canvas, network_input, network_target
from trainers._canvas import (
    BoolArray,
    FloatArray,
    Index,
    Region,
    Rng,
    bounding_window,
    coarse_mask,
    draw_on_slice,
    inner_point,
    largest_component,
    largest_error,
)

MAX_PROMPTS = 6
ZOOMS = (1.0, 1.5, 2.25, 3.375, 4.0)
"""How far the session zooms out, step by step."""
ERROR_WEIGHT = 4.0
"""How much more a voxel of the error that was clicked on counts."""


def turned(sample: Sample, rng: Rng) -> Sample:
    """A sample on other axes, sometimes mirrored, with slightly random scale and offset."""
    axes = rng.permutation(3)
    image, labels = sample.image.transpose(axes), sample.labels.transpose(axes)
    for axis in range(3):
        if rng.random() < 0.5:
            image, labels = np.flip(image, axis), np.flip(labels, axis)
    image = np.ascontiguousarray(_regreyed(image, rng) if rng.random() < 0.5 else image, np.float32)
    return Sample(image, np.ascontiguousarray(labels), sample.groups)


def _regreyed(image: FloatArray, rng: Rng) -> FloatArray:
    """Other greys for the same structures: inverted, on a power curve, or noisier; normalised as the session does."""
    low, high = np.percentile(image, [0.5, 99.5])
    grey = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)
    if rng.random() < 0.3:
        grey = 1 - grey
    if rng.random() < 0.6:
        grey = grey ** rng.uniform(0.5, 2.0)
    if rng.random() < 0.4:
        grey = grey + rng.normal(0, rng.uniform(0, 0.05), grey.shape)
    return normalise(np.asarray(grey, np.float32)) if grey.std() > 0 else image


def flawed_mask(truth: BoolArray, labels: NDArray[np.uint8], rng: Rng) -> BoolArray:
    """A plausible earlier result for a structure: wobbly border, a chunk missing or added, a neighbour taken along."""
    window = bounding_window(truth, margin=6)
    assert window is not None
    local = truth[window]
    distance = ndimage.distance_transform_edt(local) - ndimage.distance_transform_edt(~local)
    knots = [max(2, n // 6) for n in local.shape]
    wobble = ndimage.zoom(
        rng.normal(0, 1, knots),
        [n / k for n, k in zip(local.shape, knots, strict=True)],
        order=1,
        grid_mode=True,
        mode="nearest",
    )
    flawed = distance + rng.uniform(0.3, 4.0) * wobble > rng.normal(0, 0.7)
    if rng.random() < 0.5:
        surface = np.argwhere(np.abs(distance) < 1.5)
        centre = surface[rng.integers(len(surface))]
        squared = sum((np.ogrid[tuple(slice(n) for n in local.shape)][a] - centre[a]) ** 2 for a in range(3))
        chunk = squared < rng.uniform(3, 14) ** 2
        flawed = flawed | chunk if rng.random() < 0.5 else flawed & ~chunk
    mask = np.zeros(truth.shape, bool)
    mask[window] = flawed
    if rng.random() < 0.2:
        mask |= labels == rng.integers(1, labels.max() + 1)
    return mask


class Episode:
    """One structure being segmented prompt by prompt."""

    def __init__(self, sample: Sample, group: tuple[int, ...], patch: int, rng: Rng, *, plain: bool = False) -> None:
        """``sample`` is the normalised volume, ``group`` the wanted labels; ``plain``: only points, each in the
        middle of the largest error, on an empty mask to start with."""
        self.image = sample.image
        self.labels = sample.labels
        self.truth: BoolArray = np.isin(sample.labels, group)
        self.patch = patch
        self.rng = rng
        self.plain = plain
        self.canvas = canvas(self.image.shape, 1.0 if plain or rng.random() < 0.6 else float(rng.choice(ZOOMS[1:])))
        self.prompts = 0
        self.limit = MAX_PROMPTS if plain or rng.random() > 0.3 else 1
        self.centre: Index | None = None
        self.error: Region | None = None
        if not plain and rng.random() < 0.4:
            self._keep_one_piece()
        start = 1.0 if plain else rng.random()
        if start < 0.12:
            self._start_coarse()
        else:
            if start < 0.3:
                self._start_flawed()
            self._next_prompt()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to look at."""
        return self.centre is None

    def sample(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The current view: input (8, patch, patch, patch), target and weights (patch, patch, patch)."""
        assert self.centre is not None
        weights = torch.ones([self.patch] * 3)
        if self.error is not None:
            marked = np.zeros(self.truth.shape, bool)
            marked[self.error.window] = self.error.mask
            weights += ERROR_WEIGHT * network_target(marked, self.centre, self.patch)
        inputs = network_input(self.image, self.canvas, self.centre, self.patch)
        return inputs, network_target(self.truth, self.centre, self.patch), weights

    def absorb(self, prediction: NDArray[np.float32]) -> None:
        """Take the network's mask (patch, patch, patch) for the current view and move on to the next one."""
        assert self.centre is not None
        self.canvas.paste(prediction, self.centre)
        self.centre = None
        if self.prompts < self.limit:
            self._next_prompt()

    def dice(self) -> float:
        """Of the mask so far, over the whole volume."""
        mask = self.canvas.previous > 0
        total = int(mask.sum()) + int(self.truth.sum())
        return 2 * int((mask & self.truth).sum()) / max(1, total)

    def _keep_one_piece(self) -> None:
        piece = largest_component(self.truth)
        if piece is not None:
            self.truth = np.zeros_like(self.truth)
            self.truth[piece.window] = piece.mask

    def _start_flawed(self) -> None:
        if not self.truth.any():
            return
        self.canvas.previous[:] = flawed_mask(self.truth, self.labels, self.rng)
        for _ in range(int(self.rng.integers(0, 3))):
            inside = np.argwhere(self.truth)
            k, j, i = (int(n) for n in inside[self.rng.integers(len(inside))])
            self.canvas.add_point((k, j, i), True)

    def _start_coarse(self) -> None:
        """Look at a place on the border of a coarse mask."""
        self.canvas.zoom = 1.0
        self.canvas.previous[:] = coarse_mask(self.truth, float(self.rng.choice(ZOOMS[1:])))
        inside = np.argwhere(self.truth)
        if len(inside) == 0:
            return
        if self.rng.random() < 0.6:
            k, j, i = (int(n) for n in inside[self.rng.integers(len(inside))])
            self.canvas.add_point((k, j, i), True)
        near = inside[self.rng.integers(len(inside))] + self.rng.integers(-self.patch // 4, self.patch // 4 + 1, 3)
        self.centre = (int(near[0]), int(near[1]), int(near[2]))
        self.error = None

    def _next_prompt(self) -> None:
        error = largest_error(self.truth, self.canvas.previous > 0)
        if error is None:
            return
        region, positive = error
        first = self.prompts == 0 and not self.canvas.previous.any()
        self.error = region
        self.prompts += 1
        drawn = not self.plain and self.rng.random() < (0.22 if first else 0.1)
        if drawn:
            kind = str(self.rng.choice(["bbox", "lasso", "scribble"])) if first else "scribble"
            drawing = draw_on_slice(kind, region, self.rng)
            self.canvas.add_drawing(kind, drawing, positive)
            k, j, i = ((w.start + w.stop) // 2 for w in drawing.window)
            self.centre = (k, j, i)
            return
        self.centre = inner_point(region, self.rng if not self.plain and self.rng.random() < 0.5 else None)
        self.canvas.add_point(self.centre, positive)
