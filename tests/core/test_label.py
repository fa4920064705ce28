"""What a label says of each structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.core.label import states_of, with_absent
from app.core.mask import Mask, Segment
from app.core.volume import Geometry

GRID = Geometry((2, 3, 4), np.eye(4))
LABELMAP = np.zeros(GRID.shape, np.uint8)
LABELMAP[0, 0, 0], LABELMAP[1, 2, 3] = 2, 3
MASK = Mask.single(LABELMAP, ["liver", "spleen", "aorta", "lung"], GRID)


def test_voxels_are_segmented_and_an_empty_segment_is_absent() -> None:
    assert states_of(MASK) == {"liver": "absent", "spleen": "segmented", "aorta": "segmented", "lung": "absent"}


def test_what_a_model_did_not_find_is_not_examined() -> None:
    by_model = tuple(replace(s, algorithm="AUTOMATIC") for s in MASK.segments)
    states = states_of(Mask(MASK.layers, by_model, GRID))
    assert states == {"liver": "not_examined", "spleen": "segmented", "aorta": "segmented", "lung": "not_examined"}


def test_two_segments_of_a_name_are_segmented_if_one_has_voxels() -> None:
    assert states_of(Mask.single(LABELMAP, ["a", "a", "b", "b"], GRID)) == {"a": "segmented", "b": "segmented"}


def test_only_what_is_marked_is_absent() -> None:
    said = with_absent(MASK, ["lung", "kidney"])
    assert [(s.number, s.name, s.algorithm) for s in said.segments] == [
        (1, "spleen", "SEMIAUTOMATIC"),
        (2, "aorta", "SEMIAUTOMATIC"),
        (3, "lung", "MANUAL"),
        (4, "kidney", "MANUAL"),
    ]
    expected = np.zeros(GRID.shape, np.uint8)
    expected[0, 0, 0], expected[1, 2, 3] = 1, 2
    np.testing.assert_array_equal(said.layers[0], expected)
    assert states_of(said) == {"spleen": "segmented", "aorta": "segmented", "lung": "absent", "kidney": "absent"}


def test_segmented_and_absent_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="marked as absent, and segmented: spleen"):
        with_absent(MASK, ["lung", "spleen"])


def test_overlapping_segments_keep_their_layers() -> None:
    first, second = np.zeros(GRID.shape, np.uint8), np.zeros(GRID.shape, np.uint8)
    first[0], second[0, 0] = 1, 3
    segments = (Segment(1, "body"), Segment(2, "nothing"), Segment(3, "liver", layer=1), Segment(4, "bone", layer=1))
    said = with_absent(Mask((first, second), segments, GRID), ["bone"])
    assert [(s.name, s.layer) for s in said.segments] == [("body", 0), ("liver", 1), ("bone", 1)]
    np.testing.assert_array_equal(said.voxels_of(1), first == 1)
    np.testing.assert_array_equal(said.voxels_of(2), second == 3)
    assert not said.voxels_of(3).any()
