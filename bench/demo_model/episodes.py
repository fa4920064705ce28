"""Training samples as live episodes: the network's own mask, the next prompt on its largest error, the next patch.

An episode follows one object through a few prompts exactly as the session would: each patch is centred on the newest
prompt, older prompts are faded, the previous mask is what the network last said. The forward pass of a training step
is also the episode's prediction, so the corrections cost no extra pass. Some episodes start from a made-up flawed
mask instead, so that large errors keep being seen once the network rarely makes them.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from bench.demo_model.prompts import (
    BoolArray,
    Canvas,
    FloatArray,
    Index,
    Region,
    Rng,
    View,
    bounding_window,
    draw_on_slice,
    inner_point,
    largest_component,
    largest_error,
    network_input,
    network_target,
    paste_prediction,
    view_of_box,
)

MAX_PROMPTS = 6
MAX_ZOOM = 2.25
ZOOM_STEP = 1.5


def flawed_mask(truth: BoolArray, labels: NDArray[np.uint8], rng: Rng) -> BoolArray:
    """A plausible earlier result for an object: wobbly border, a chunk missing or added, a neighbour taken along."""
    window = bounding_window(truth, margin=12)
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
    if rng.random() < 0.4:
        surface = np.argwhere(np.abs(distance) < 1.5)
        centre = surface[rng.integers(len(surface))]
        squared = sum((np.ogrid[tuple(slice(n) for n in local.shape)][a] - centre[a]) ** 2 for a in range(3))
        chunk = squared < rng.uniform(3, 10) ** 2
        flawed = flawed | chunk if rng.random() < 0.5 else flawed & ~chunk
    mask = np.zeros(truth.shape, bool)
    mask[window] = flawed
    if rng.random() < 0.15:
        mask |= labels == rng.integers(1, labels.max() + 1)
    return mask


def _crosses_border(change: BoolArray, view: View, patch: int) -> bool:
    """Whether a wanted change reaches the faces of a view enough to make the session zoom out."""
    half = round(patch * view.zoom) // 2
    for axis in range(3):
        for face in (view.centre[axis] - half, view.centre[axis] + half - 1):
            if 0 <= face < change.shape[axis]:
                window = [slice(max(0, c - half), max(0, c + half)) for c in view.centre]
                window[axis] = slice(face, face + 1)
                if change[tuple(window)].sum() > 100:
                    return True
    return False


class Episode:
    """One object being segmented prompt by prompt."""

    def __init__(self, image: FloatArray, labels: NDArray[np.uint8], label: int, patch: int, rng: Rng) -> None:
        """``image`` is the normalised volume (k, j, i), ``label`` the wanted object in ``labels``."""
        self.image = image
        self.truth: BoolArray = labels == label
        self.patch = patch
        self.rng = rng
        self.canvas = Canvas(image.shape)
        self.prompts = 0
        self.limit = 1 if rng.random() < 0.35 else int(rng.integers(2, MAX_PROMPTS + 1))
        self.views: list[View] = []
        if rng.random() < 0.25:
            self._start_flawed(labels)
        self._next_prompt()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to look at."""
        return not self.views

    def sample(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The current view: input (8, patch, patch, patch) and target (patch, patch, patch)."""
        view = self.views[0]
        return network_input(self.image, self.canvas, view, self.patch), network_target(self.truth, view, self.patch)

    def absorb(self, prediction: torch.Tensor) -> None:
        """Take the network's mask (patch, patch, patch) for the current view and move on to the next one."""
        paste_prediction(self.canvas, prediction, self.views.pop(0), self.patch)
        if not self.views and self.prompts < self.limit:
            self._next_prompt()

    def _start_flawed(self, labels: NDArray[np.uint8]) -> None:
        self.canvas.previous[:] = flawed_mask(self.truth, labels, self.rng)
        component = largest_component(self.truth)
        assert component is not None
        for _ in range(int(self.rng.integers(0, 3))):
            self.canvas.add_point(inner_point(component, self.rng), True)

    def _next_prompt(self) -> None:
        previous = self.canvas.previous > 0
        error = largest_error(self.truth, previous)
        if error is None:
            return
        region, positive = error
        first = self.prompts == 0 and not previous.any()
        drawn = self.rng.random() < (0.25 if first else 0.12)
        if drawn:
            kind = str(self.rng.choice(["bbox", "lasso", "scribble"])) if first else "scribble"
            view = self._draw(kind, region, positive)
        else:
            point = inner_point(region, self.rng if self.rng.random() < 0.5 else None)
            self.canvas.add_point(point, positive)
            view = View(point)
        self.prompts += 1
        self._look(view, previous != self.truth)

    def _draw(self, kind: str, region: Region, positive: bool) -> View:
        drawing = draw_on_slice(kind, region, self.rng)
        self.canvas.add_drawing(kind, drawing, positive)
        low = tuple(w.start for w in drawing.window)
        high = tuple(w.stop for w in drawing.window)
        return view_of_box((low[0], low[1], low[2]), (high[0], high[1], high[2]), self.patch)

    def _look(self, view: View, change: BoolArray) -> None:
        """Queue the views of one prompt: the first one, or a zoomed-out one and patches that refine it."""
        zoom = min(view.zoom, MAX_ZOOM)
        while zoom < MAX_ZOOM and _crosses_border(change, View(view.centre, zoom), self.patch):
            zoom = min(MAX_ZOOM, zoom * ZOOM_STEP)
        if zoom > view.zoom and self.rng.random() < 0.3:
            zoom = view.zoom
        elif zoom == 1.0 and self.rng.random() < 0.1:
            zoom = ZOOM_STEP if self.rng.random() < 0.5 else MAX_ZOOM
        self.views.append(View(view.centre, zoom))
        if zoom > 1.0:
            for _ in range(int(self.rng.integers(1, 3))):
                self.views.append(View(self._refinement_centre(view.centre, change)))

    def _refinement_centre(self, fallback: Index, change: BoolArray) -> Index:
        """A place the refinement would visit: near a random voxel that had to change."""
        voxels = np.argwhere(change)
        if len(voxels) == 0:
            return fallback
        near = voxels[self.rng.integers(len(voxels))] + self.rng.integers(-self.patch // 6, self.patch // 6 + 1, 3)
        return int(near[0]), int(near[1]), int(near[2])
