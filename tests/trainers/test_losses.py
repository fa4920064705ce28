"""Values worked out by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from trainers import _losses


def examined(*numbers: set[int], classes: int = 3) -> torch.Tensor:
    return _losses.examined_classes(numbers, classes, "cpu")


def test_two_voxels_that_know_nothing() -> None:
    logits = torch.zeros(1, 2, 1, 1, 2)
    label = torch.tensor([0, 1]).reshape(1, 1, 1, 2)
    # Cross entropy log 2; Dice (2 * 0.5 + 1) / (0.5 + 0.5 + 1 + 1) = 2/3.
    assert float(_losses.multiclass(logits, label, examined({1}, classes=2))) == pytest.approx(log(2) + 1 - 2 / 3)


def test_unknown_voxels_change_nothing_and_get_no_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 1, 1, 4)
    label = torch.tensor([0, 1, 2, 1]).reshape(1, 1, 1, 4)
    more = torch.cat([logits, torch.randn(1, 3, 1, 1, 2)], -1).requires_grad_()
    unknown = torch.cat([label, torch.full((1, 1, 1, 2), 255)], -1)
    loss = _losses.multiclass(more, unknown, examined({1, 2}))
    assert loss.item() == pytest.approx(_losses.multiclass(logits, label, examined({1, 2})).item(), rel=1e-5)
    loss.backward()
    assert more.grad is not None
    assert float(more.grad[..., 4:].abs().max()) == 0.0
    assert float(more.grad[..., :4].abs().max()) > 0.0


def test_nothing_known_is_no_error() -> None:
    loss = _losses.multiclass(torch.randn(1, 2, 1, 1, 2), torch.full((1, 1, 1, 2), 255), examined({1}, classes=2))
    assert float(loss) == pytest.approx(0.0)


def test_background_is_everything_that_the_label_does_not_speak_of() -> None:
    logits = torch.zeros(1, 3, 1, 1, 2)
    label = torch.tensor([0, 1]).reshape(1, 1, 1, 2)
    # The first voxel isn't structure 1: 1/3 + 1/3. Dice of structure 1: (2 / 3 + 1) / (2 / 3 + 1 + 1) = 5/8.
    entropy = (-log(2 / 3) - log(1 / 3)) / 2
    assert float(_losses.multiclass(logits, label, examined({1}))) == pytest.approx(entropy + 1 - 5 / 8)
    # Structure 2 is absent: 1/3 is left for the background. Dice of structure 2: 1 / (2 / 3 + 1) = 3/5.
    whole = log(3) + 1 - (5 / 8 + 3 / 5) / 2
    assert float(_losses.multiclass(logits, label, examined({1, 2}))) == pytest.approx(whole)


def test_each_label_of_a_batch_speaks_for_itself() -> None:
    probabilities = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    logits = probabilities.log().reshape(2, 3, 1, 1, 1)
    label = torch.tensor([0, 2]).reshape(2, 1, 1, 1)
    # The first is not 1: 0.2 + 0.5; the second is 2. Dice of 1 in the first: 1 / 1.3, of 2 in the second: 1.2 / 2.1.
    entropy = (-log(0.7) - log(0.1)) / 2
    soft = (1 - 1 / 1.3 + 1 - 1.2 / 2.1) / 2
    assert float(_losses.multiclass(logits, label, examined({1}, {2}))) == pytest.approx(entropy + soft)


def test_what_nobody_examined_is_pushed_no_further_down_than_the_background() -> None:
    logits = torch.tensor([0.5, -1.0, 0.5, 2.0]).reshape(1, 4, 1, 1, 1).requires_grad_()
    _losses.multiclass(logits, torch.zeros(1, 1, 1, 1, dtype=torch.long), examined({1}, classes=4)).backward()
    assert logits.grad is not None
    background, one, two, three = (float(value) for value in logits.grad.reshape(4))
    assert one > 0, "it is not the structure that was examined"
    assert background == pytest.approx(two)
    assert two < 0
    assert three < two, "the likelier one gains more"


def test_one_structure() -> None:
    target = torch.tensor([[[[[True, False]]]]])
    known = torch.tensor([[[[[True, True]]]]])
    assert float(_losses.binary(torch.zeros(1, 1, 1, 1, 2), target, known)) == pytest.approx(log(2) + 1 - 2 / 3)
    sure = torch.tensor([[[[[50.0, -50.0]]]]])
    assert float(_losses.binary(sure, target, known)) == pytest.approx(0.0, abs=1e-6)
    only_first = torch.tensor([[[[[True, False]]]]])
    assert float(_losses.binary(torch.tensor([[[[[50.0, 50.0]]]]]), target, only_first)) == pytest.approx(0.0, abs=1e-6)
