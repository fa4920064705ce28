"""The starter model's prompts, on the canvas that every trainer of nnInteractive models draws on."""

from collections.abc import Sequence

import torch

from bench.starter_model.architecture import (
    DECAY,
    INTERACTION_CHANNELS,
    POINT,
    POINT_RADIUS,
    PREVIOUS,
    REGION,
    SCRIBBLE,
)
from trainers._canvas import BoolArray, Canvas, FloatArray, Index, Layout, padded_crop

LAYOUT = Layout(
    channels=INTERACTION_CHANNELS,
    previous=PREVIOUS,
    points=(POINT, POINT + 1),
    drawings={"bbox": (REGION, REGION + 1), "lasso": (REGION, REGION + 1), "scribble": (SCRIBBLE, SCRIBBLE + 1)},
    radius=POINT_RADIUS,
    decay=DECAY,
)


def canvas(shape: Sequence[int], zoom: float = 1.0) -> Canvas:
    """An empty canvas of the starter model's channels."""
    return Canvas(LAYOUT, tuple(shape), zoom)


def network_input(image: FloatArray, drawn: Canvas, centre: Index, patch: int) -> torch.Tensor:
    """What the session feeds the network for the patch around a voxel: float32 (8, patch, patch, patch)."""
    return torch.from_numpy(drawn.view(image, centre, (patch, patch, patch)))


def network_target(truth: BoolArray, centre: Index, patch: int) -> torch.Tensor:
    """The right answer for the patch around a voxel: int64 (patch, patch, patch)."""
    return torch.from_numpy(padded_crop(truth, centre, (patch, patch, patch)) > 0.5).long()
