"""What is sent arrives where it was meant: on volumes of any shape, voxel for voxel."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.dialects.nninteractive.site import FLAGS, SHAPE, Seated

SHAPES = st.tuples(*[st.integers(1, 12)] * 3).filter(lambda shape: np.prod(shape) > 1)
QUICK = settings(max_examples=25, deadline=None)


def cube(shape: tuple[int, ...], at: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(max(0, x - 2), x + 3) for x in at)] = 1
    return mask


@QUICK
@given(SHAPES, st.data())
def test_points(site, shape, data):
    seated = site.opened(shape)
    wanted = np.zeros(shape, np.uint8)
    for _ in range(3):
        at = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
        include = data.draw(st.booleans())
        wanted[cube(shape, at) > 0] = include
        seated.take(seated.point(list(at), include_interaction=include))
        np.testing.assert_array_equal(seated.buffer, wanted)
    site.client.post("/release", headers=seated.headers)


@QUICK
@given(SHAPES, st.sampled_from(["scribble", "lasso"]), st.booleans(), st.data())
def test_drawings_cropped_and_whole(site, shape, kind, cropped, data):
    seated = site.opened(shape)
    axis = data.draw(st.integers(0, 2))
    slab = tuple(1 if number == axis else n for number, n in enumerate(shape))
    place = data.draw(st.integers(0, shape[axis] - 1))
    box = [[place, place + 1] if number == axis else [0, n] for number, n in enumerate(shape)]
    drawn = data.draw(hnp.arrays(np.uint8, slab, elements=st.integers(0, 3)).filter(np.any))
    whole = np.zeros(shape, np.uint8)
    whole[tuple(slice(*side) for side in box)] = drawn
    meta = {**FLAGS, "interaction_bbox": box if cropped else None}
    seated.take(seated.binary(f"/add_{kind}_interaction", drawn if cropped else whole, **meta))
    np.testing.assert_array_equal(seated.buffer, whole != 0)
    site.client.post("/release", headers=seated.headers)


@QUICK
@given(SHAPES, st.data())
def test_initial_segmentations_and_undo(site, shape, data):
    seated = site.opened(shape)
    masks = [data.draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 1))) for _ in range(2)]
    for mask in masks:
        seated.buffer[:] = mask  # the client writes it before it asks
        assert seated.take(seated.binary("/add_initial_seg_interaction", mask)) == {
            "ran_prediction": False,
            "bbox": None,
        }
    assert seated.take(seated.json("/undo", {}))["ran_prediction"] is True
    np.testing.assert_array_equal(seated.buffer, masks[0])
    assert seated.take(seated.json("/undo", {})) == {"ran_prediction": False, "bbox": None}
    site.client.post("/release", headers=seated.headers)


@pytest.mark.parametrize(
    ("box", "low", "high"),
    [
        ([[2, 3], [1, 5], [4, 9]], (2, 1, 4), (3, 5, 9)),
        ([[-5, 2], [0, 1], [10, 99]], (0, 0, 10), (2, 1, 13)),
        ([[1.4, 1.6], [2, 6], [2, 6]], (1, 2, 2), (2, 6, 6)),
        ([[1, 4], [2, 6], [2, 6]], (1, 2, 2), (4, 6, 6)),  # this model takes boxes as thick as they are
    ],
)
def test_boxes_are_half_open_and_clipped(site, box, low, high):
    seated = site.opened()
    meta = seated.take(seated.json("/add_bbox_interaction", {"bbox_coords": box, **FLAGS}))
    assert meta["bbox"] == [list(side) for side in zip(low, high, strict=True)]
    assert seated.buffer.sum() == np.prod(np.subtract(high, low))


def test_the_answer_of_the_protocol(site):
    seated = site.opened(dtype="int32")
    answer = seated.point([2, 4, 6])
    assert answer.headers["content-type"] == "application/octet-stream"
    box = [[0, 5], [2, 7], [4, 9]]
    assert json.loads(answer.headers["x-meta"]) == {
        "ran_prediction": True,
        "bbox": box,
        "dtype": "int32",
        "shape": [5, 5, 5],
    }


def test_noted_prompts_wait_for_their_prediction(site):
    seated = site.opened()
    assert seated.take(seated.point([1, 1, 1], run_prediction=False)) == {"ran_prediction": False, "bbox": None}
    assert not seated.buffer.any()
    assert seated.take(seated.json("/predict", {"force_full_refine": False}))["ran_prediction"] is True
    np.testing.assert_array_equal(seated.buffer, cube(SHAPE, (1, 1, 1)))
    assert seated.take(seated.json("/predict", {})) == {"ran_prediction": False, "bbox": None}


def test_a_prediction_that_changes_nothing_ran_all_the_same(site):
    seated = site.opened()
    seated.take(seated.point([1, 1, 1]))
    assert seated.take(seated.point([1, 1, 1])) == {"ran_prediction": True, "bbox": None}


def test_reset(site):
    seated = site.opened()
    seated.take(seated.point([1, 1, 1]))
    seated.buffer[:] = 0
    assert seated.json("/reset_interactions", {}).json() == {}
    assert seated.take(seated.json("/undo", {}))["ran_prediction"] is False
    seated.take(seated.point([4, 6, 9]))
    np.testing.assert_array_equal(seated.buffer, cube(SHAPE, (4, 6, 9)))


def test_values_that_are_no_mask_are_told_to_be_one(site):
    """The client holds what it sent; the server only what isn't zero."""
    seated = site.opened()
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:3, 2:4, 5:8] = 7
    seated.buffer[:] = labels
    seated.take(seated.binary("/add_initial_seg_interaction", labels))
    np.testing.assert_array_equal(seated.buffer, labels != 0)


def test_a_new_buffer_in_the_middle_gets_all_of_the_mask(site):
    seated = site.opened()
    seated.take(seated.point([1, 1, 1]))
    seated.json("/set_target_buffer", {"shape": list(SHAPE), "dtype": "bool"})
    seated.buffer = np.zeros(SHAPE, np.bool_)
    seated.take(seated.point([4, 6, 9]))
    np.testing.assert_array_equal(seated.buffer, cube(SHAPE, (1, 1, 1)) | cube(SHAPE, (4, 6, 9)))


def test_two_leases_know_nothing_of_each_other(site):
    one, other = site.opened(), site.opened((7, 5, 3))
    one.take(one.point([1, 1, 1]))
    other.take(other.point([6, 4, 2]))
    assert isinstance(one, Seated)
    np.testing.assert_array_equal(one.buffer, cube(SHAPE, (1, 1, 1)))
    np.testing.assert_array_equal(other.buffer, cube((7, 5, 3), (6, 4, 2)))
