"""Values worked out by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from trainers import _losses


def test_two_voxels_that_know_nothing() -> None:
    logits = torch.zeros(1, 2, 1, 1, 2)
    label = torch.tensor([0, 1]).reshape(1, 1, 1, 2)
    # Cross entropy log 2; Dice (2 * 0.5 + 1) / (0.5 + 0.5 + 1 + 1) = 2/3.
    assert float(_losses.multiclass(logits, label)) == pytest.approx(log(2) + 1 - 2 / 3)


def test_unknown_voxels_change_nothing_and_get_no_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 1, 1, 4)
    label = torch.tensor([0, 1, 2, 1]).reshape(1, 1, 1, 4)
    more = torch.cat([logits, torch.randn(1, 3, 1, 1, 2)], -1).requires_grad_()
    unknown = torch.cat([label, torch.full((1, 1, 1, 2), 255)], -1)
    loss = _losses.multiclass(more, unknown)
    assert loss.item() == pytest.approx(_losses.multiclass(logits, label).item(), rel=1e-5)
    loss.backward()
    assert more.grad is not None
    assert float(more.grad[..., 4:].abs().max()) == 0.0
    assert float(more.grad[..., :4].abs().max()) > 0.0


def test_nothing_known_is_no_error() -> None:
    loss = _losses.multiclass(torch.randn(1, 2, 1, 1, 2), torch.full((1, 1, 1, 2), 255))
    assert float(loss) == pytest.approx(0.0)


def test_one_structure() -> None:
    target = torch.tensor([[[[[True, False]]]]])
    known = torch.tensor([[[[[True, True]]]]])
    assert float(_losses.binary(torch.zeros(1, 1, 1, 1, 2), target, known)) == pytest.approx(log(2) + 1 - 2 / 3)
    sure = torch.tensor([[[[[50.0, -50.0]]]]])
    assert float(_losses.binary(sure, target, known)) == pytest.approx(0.0, abs=1e-6)
    only_first = torch.tensor([[[[[True, False]]]]])
    assert float(_losses.binary(torch.tensor([[[[[50.0, 50.0]]]]]), target, only_first)) == pytest.approx(0.0, abs=1e-6)
