from __future__ import annotations

import pytest

from trainers._epochs import dice


def test_dice_of_sums() -> None:
    metrics = dice({"a": 3, "b": 0, "c": 0}, {"a": 8, "b": 5, "c": 0})
    assert metrics == {"dice": pytest.approx(0.375), "dice:a": 0.75, "dice:b": 0.0}
    assert dice({"a": 0}, {"a": 0}) == {"dice": 0.0}
