"""Point lists on the wire against prompts here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.prompt import Box, Point, Region
from app.dialects.monailabel.clicks import Clicks, decode_box, decode_clicks, decode_points
from app.dialects.monailabel.params import InferParams, options_of, read_params
from app.errors import BadInput, BadPrompt
from app.models.fake import FakeInteractive

SHAPE = (4, 6, 9)  # k, j, i
index = st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 8))
lists = st.lists(index, max_size=6).map(tuple)


def decoded(dimension: int = 3, **params: object) -> Clicks:
    return decode_clicks(read_params(params), SHAPE, dimension)


def test_the_wire_says_ijk():
    assert decoded(foreground=[[8, 5, 3]], background=[[1, 2, 0]]) == Clicks(((3, 5, 8),), ((0, 2, 1),))


@given(st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), max_size=5))
def test_points_are_moved_to_the_nearest_voxel(points):
    for (k, j, i), (x, y, z) in zip(decode_points(points, SHAPE), points, strict=True):
        for found, size, sent in ((k, 4, z), (j, 6, y), (i, 9, x)):
            assert found == min(max(round(sent), 0), size - 1)


@given(st.permutations([0, 1]), st.lists(st.tuples(st.integers(-9, 20), st.integers(-9, 20)), min_size=3, max_size=3))
def test_a_box_may_come_with_its_pairs_turned_round(turn, pairs):
    sent = [pair[at] for pair in pairs for at in turn]
    box = decode_box(sent, SHAPE)
    assert box == decode_box([pair[at] for pair in pairs for at in (0, 1)], SHAPE)
    assert box.within(SHAPE)


def test_both_ends_of_a_box_belong_to_it():
    assert decode_box([7, 2, 1, 1, 0, 3], SHAPE) == Region((0, 1, 2), (4, 2, 8))
    assert decode_box([], SHAPE) is None


def test_equal_lists_mean_background_only():
    both = [[1, 2, 3], [4, 4, 1]]
    assert decoded(foreground=both, background=both) == Clicks((), ((3, 2, 1), (1, 4, 4)))


def test_missing_and_null_lists_are_empty():
    assert decoded(background=[[0, 0, 0]]) == Clicks((), ((0, 0, 0),))
    assert decoded(foreground=None, roi=None, label=None, slice=None, client_id=None) == Clicks()


@given(before=lists, added=lists, out=lists, more_out=lists)
def test_what_was_added_is_what_is_new(before, added, out, more_out):
    prompts = Clicks(before, out).until(Clicks(before + added, out + more_out))
    assert prompts == [*map(Point, added), *(Point(p, include=False) for p in more_out)]


@given(st.data(), lists.filter(len), lists)
def test_a_point_gone_means_starting_over(data, before, added):
    gone = data.draw(st.sampled_from(before))
    after = tuple(p for p in before + added if p != gone)
    assert Clicks(before).until(Clicks(after)) is None
    assert Clicks(exclude=before).until(Clicks(exclude=after)) is None


@given(lists, lists)
def test_nothing_new_is_no_prompt(include, exclude):
    clicks = Clicks(include, exclude, Region((0, 0, 0), (1, 1, 1)))
    assert clicks.until(clicks) == []


def test_a_box_is_given_once_and_first():
    box, other = Region((0, 0, 0), (2, 3, 4)), Region((1, 0, 0), (2, 3, 4))
    assert Clicks().until(Clicks(((1, 1, 1),), (), box)) == [Box(box), Point((1, 1, 1))]
    assert Clicks((), (), box).until(Clicks(((1, 1, 1),), (), box)) == [Point((1, 1, 1))]
    assert Clicks((), (), box).until(Clicks((), (), other)) is None
    assert Clicks((), (), box).until(Clicks()) is None


class TestFlatModels:
    def test_points_of_the_slice_that_was_clicked(self):
        sent = {"foreground": [[1, 1, 2], [2, 2, 3]], "background": [[3, 3, 2]]}
        assert decoded(2, **sent, slice=2) == Clicks(((2, 1, 1),), ((2, 3, 3),))

    def test_ohif_sends_no_slice_and_one_slices_points(self):
        assert decoded(2, foreground=[[1, 1, 2]]) == Clicks(((2, 1, 1),))

    def test_slice_zero_comes_with_all_points(self):
        assert decoded(2, foreground=[[1, 1, 2], [2, 2, 0]], slice=0) == Clicks(((0, 2, 2),))

    def test_points_are_believed_over_a_slice_without_any(self):
        assert decoded(2, foreground=[[1, 1, 2], [2, 2, 3]], slice=1) == Clicks(((3, 2, 2),))

    def test_a_box_is_flat_at_the_slice_if_that_is_in_it_else_in_its_middle(self):
        roi = [2, 4, 1, 3, 1, 3]
        assert decoded(2, roi=roi, slice=3).box == Region((3, 1, 2), (4, 4, 5))
        assert decoded(2, roi=roi, slice=250).box == Region((3, 1, 2), (4, 4, 5))
        assert decoded(2, roi=roi, slice=0).box == Region((2, 1, 2), (3, 4, 5))
        assert decoded(2, roi=roi).box == Region((2, 1, 2), (3, 4, 5))

    def test_nothing_is_nothing(self):
        assert decoded(2, slice=3) == Clicks()


@pytest.mark.parametrize(
    "params",
    [
        {"foreground": [[1, 2]]},
        {"foreground": [1, 2, 3]},
        {"background": "x"},
        {"roi": [1, 2, 3]},
        {"label_info": [{"id": 1}]},
        {"result_compress": "perhaps"},
    ],
)
def test_what_makes_no_sense_is_refused_with_its_name(params):
    with pytest.raises(BadInput, match=next(iter(params))):
        read_params(params)


def test_not_a_number_is_no_index():
    with pytest.raises(BadPrompt):
        decode_points([[float("nan"), 0, 0]], SHAPE)


def test_unknown_keys_are_ignored():
    assert read_params({"image": "other", "device": "cuda", "model_filename": "/x"}) == InferParams()


@pytest.mark.parametrize("sent", [{}, {"radius": None}, {"radius": ""}, {"radius": [2]}, {"radius": 2.0}])
def test_an_option_comes_in_many_ways(sent):
    assert options_of(FakeInteractive(radius=2).card, sent) == {"radius": 2}
