from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from app.core.progress import ignore_progress
from app.core.training import ModelSpec
from app.core.volume import Index
from app.errors import BadFile, Cancelled
from app.models.device import Device
from app.models.trained.networks import Loaded
from app.models.trained.spec import Version
from app.models.trained.windows import window_count, window_probabilities

CPU = Device("cpu", threads=1, precision="fp32")


class PerVoxel(torch.nn.Module):
    """Answers with logits that depend on the voxel alone, so that windows can't change the result."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(x[:, :1]), x[:, :1], -x[:, :1]], 1)


def loaded(network: torch.nn.Module, patch: Index) -> Loaded:
    spec = ModelSpec("segmentation", "", {}, ("a", "b"), (0, 0, 0), patch)
    return Loaded(Version(Path("none"), spec, "", ()), network, "cpu")


@pytest.mark.parametrize("patch", [(8, 8, 8), (16, 6, 64), (1, 8, 8)])
def test_windows_give_what_the_whole_would(patch: Index) -> None:
    image = np.random.default_rng(0).normal(size=(1, 13, 17, 21)).astype(np.float32)
    network = PerVoxel()
    result = window_probabilities(loaded(network, patch), image, "softmax", CPU, ignore_progress)

    logits = np.stack([np.zeros_like(image[0]), image[0], -image[0]])
    expected = np.exp(logits) / np.exp(logits).sum(axis=0)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_sigmoid_is_per_channel() -> None:
    image = np.random.default_rng(0).normal(size=(1, 9, 9, 9)).astype(np.float32)
    result = window_probabilities(loaded(PerVoxel(), (8, 8, 8)), image, "sigmoid", CPU, ignore_progress)

    np.testing.assert_allclose(result[1], 1 / (1 + np.exp(-image[0])), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (13, 17, 21), (8, 8, 9), (64, 7, 30)])
@pytest.mark.parametrize("patch", [(8, 8, 8), (16, 6, 64), (1, 3, 2)])
def test_the_window_count_is_monais(shape: Index, patch: Index) -> None:
    padded = [max(n, p) for n, p in zip(shape, patch, strict=True)]
    interval = _get_scan_interval(padded, patch, 3, [0.25] * 3)

    assert window_count(shape, patch) == len(dense_patch_slices(padded, patch, interval))


def test_progress_goes_up_to_one_with_a_step_per_window() -> None:
    seen: list[float] = []
    image = np.zeros((1, 16, 16, 16), np.float32)
    window_probabilities(
        loaded(PerVoxel(), (8, 16, 16)), image, "softmax", CPU, lambda done, text="": seen.append(done)
    )

    # 16 voxels in windows of 8, 6 apart: at 0, 6 and 8.
    assert seen == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_cancelling_stops_at_the_next_window() -> None:
    calls: list[float] = []

    def stop(done: float, text: str = "") -> None:
        calls.append(done)
        if len(calls) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        window_probabilities(loaded(PerVoxel(), (4, 4, 4)), np.zeros((1, 16, 16, 16), np.float32), "softmax", CPU, stop)
    assert len(calls) == 2


def test_a_network_for_other_channels_is_a_bad_file() -> None:
    network = torch.nn.Conv3d(2, 3, 1)
    with pytest.raises(BadFile, match="1 channels"):
        window_probabilities(
            loaded(network, (8, 8, 8)), np.zeros((1, 8, 8, 8), np.float32), "softmax", CPU, ignore_progress
        )
