"""The demo model's network, wherever it computes."""

from __future__ import annotations

import torch

from app.models.demo_network import LIKENESS_CHANNELS, likeness


def test_every_tensor_is_made_on_the_input_s_device() -> None:
    """torch's `meta` device stands in for a graphics card: like one, it takes no tensors of the processor."""
    patch = torch.zeros(2, 8, 6, 7, 9, device="meta")
    assert likeness(patch).shape == (2, LIKENESS_CHANNELS, 6, 7, 9)
    assert likeness(patch).device.type == "meta"


def test_voxels_like_the_clicked_one_are_told_from_others() -> None:
    patch = torch.zeros(1, 8, 12, 12, 12)
    patch[0, 0] = torch.randn(12, 12, 12, generator=torch.Generator().manual_seed(0)) * 0.1
    patch[0, 0, :, :, 6:] += 5.0  # the right half is another thing
    patch[0, 4, 4:8, 4:8, 2:4] = 1.0  # an including click on the left
    alike = likeness(patch)[0, 1]  # 1 where the smoothed image is as at the click
    assert alike[:, :, :4].mean() > 0.5
    assert alike[:, :, 8:].max() < 0.01
