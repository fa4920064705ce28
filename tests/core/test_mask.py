"""Masks and how alike two of them are."""

from __future__ import annotations

import hashlib

import numpy as np

from app.core.mask import Mask, dice
from app.core.volume import Geometry


def test_dice() -> None:
    one, other = np.zeros((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    assert dice(one, other) is None
    one[:2, :2, :2] = True
    assert dice(one, other) == 0.0
    other[:2, :2, 1:] = True
    assert dice(one, other) == 2 * 4 / (8 + 8)
    assert dice(one, one) == 1.0


def test_the_digest_is_that_of_the_layers_bytes_in_order() -> None:
    layers = (np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 2, np.ones((2, 3, 4), np.uint8)[:, ::-1])
    mask = Mask.single(layers[0], ["liver"], Geometry((2, 3, 4), np.eye(4)))
    assert mask.sha256 == hashlib.sha256(layers[0].tobytes()).hexdigest()
    both = Mask(layers, mask.segments, mask.geometry)
    assert both.sha256 == hashlib.sha256(layers[0].tobytes() + layers[1].tobytes()).hexdigest()
