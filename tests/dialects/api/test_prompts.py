"""Prompts as browsers send them, down to the voxels they stand for."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dialects.api.common import gzipped, inflate, unpack_bits
from app.errors import BadFile, BadPrompt
from tests.dialects.api.calls import bits, mask, opened_session, post, prompt, unzipped
from tests.dialects.monailabel.site import SHAPE, Site

shapes = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 7))


@given(shape=shapes, seed=st.integers(0, 999))
def test_bits_come_back_on_any_shape(shape: tuple[int, int, int], seed: int) -> None:
    voxels = np.random.default_rng(seed).random(shape) > 0.5
    np.testing.assert_array_equal(unpack_bits(bits(voxels), shape), voxels)


@given(shape=shapes, seed=st.integers(0, 999))
def test_gzip_comes_back_on_any_shape(shape: tuple[int, int, int], seed: int) -> None:
    voxels = np.random.default_rng(seed).integers(0, 9, shape, np.uint8)
    np.testing.assert_array_equal(unzipped(gzipped(voxels), shape), voxels)
    np.testing.assert_array_equal(inflate(base64.b64decode(gzipped(voxels)), shape), voxels)


def test_more_than_was_declared_is_never_made() -> None:
    bomb = base64.b64decode(gzipped(np.zeros((64, 1024, 1024), np.uint8)))
    with pytest.raises(BadFile, match="exactly 24 bytes"):
        inflate(bomb, (2, 3, 4))
    for wrong in ("A" * 5, "A" * 100_000, "!!!!"):
        with pytest.raises(BadPrompt):
            unpack_bits(wrong, (2, 3, 4))


@pytest.mark.parametrize("kind", ["scribble", "lasso"])
def test_drawn_voxels(site: Site, kind: str) -> None:
    session = opened_session(site)
    drawn = np.random.default_rng(3).random((1, 7, 5)) > 0.5
    prompt(site, session, {"type": kind, "low": [3, 4, 6], "high": [4, 11, 11], "include": True, "voxels": bits(drawn)})
    expected = np.zeros(SHAPE, np.uint8)
    expected[3:4, 4:11, 6:11] = drawn
    np.testing.assert_array_equal(mask(site, session), expected)


def test_a_stroke_as_a_line_and_a_radius(site: Site) -> None:
    session = opened_session(site)
    line = {"type": "polyline_scribble", "points": [[4, 3, 5], [4, 9, 5]], "radius": 1, "include": True}
    prompt(site, session, line)
    expected = np.zeros(SHAPE, np.uint8)
    expected[4, 2:11, 5] = 1  # the pen reaches one voxel beyond both ends
    for k, i in ((3, 5), (5, 5), (4, 4), (4, 6)):
        expected[k, 3:10, i] = 1
    np.testing.assert_array_equal(mask(site, session), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_outline_on_any_slice(site: Site, axis: int) -> None:
    session = opened_session(site)
    corners = [(1.5, 2.5), (1.5, 6.5), (4.5, 6.5), (4.5, 2.5)]
    points = [np.insert(corner, axis, 5.0).tolist() for corner in corners]
    prompt(site, session, {"type": "polygon_lasso", "axis": axis, "points": points, "include": True})
    expected = np.zeros(SHAPE, np.uint8)
    inside = [slice(2, 5), slice(3, 7)]
    inside.insert(axis, slice(5, 6))
    expected[tuple(inside)] = 1
    np.testing.assert_array_equal(mask(site, session), expected)


def test_a_mask_to_start_from(site: Site) -> None:
    session = opened_session(site)
    start = np.random.default_rng(5).random(SHAPE) > 0.7
    prompt(site, session, {"type": "point", "at": [1, 1, 1]})
    prompt(site, session, {"type": "mask", "voxels": bits(start)})
    np.testing.assert_array_equal(mask(site, session), start)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"type": "point", "at": [9, 0, 0]}, "outside"),
        ({"type": "point", "at": [-1, 0, 0]}, "outside"),
        ({"type": "box", "low": [0, 0, 0], "high": [3, 3, 17]}, "not within"),
        ({"type": "box", "low": [3, 0, 0], "high": [3, 3, 3]}, "from low to high"),
        ({"type": "scribble", "low": [0, 0, 0], "high": [10**9] * 3, "voxels": "AAAA"}, "not within"),
        ({"type": "scribble", "low": [0, 0, 0], "high": [1, 4, 4], "voxels": "A" * 400}, "2 bytes of bits"),
        ({"type": "scribble", "low": [0, 0, 0], "high": [1, 4, 4], "voxels": "AAA="}, "nothing was drawn"),
        ({"type": "mask", "voxels": "AAAA"}, "bytes of bits"),
        ({"type": "polyline_scribble", "points": [[4, 99, 99]], "radius": 3}, "no voxel"),
        ({"type": "polygon_lasso", "axis": 0, "points": [[50, 1, 1], [50, 5, 1], [50, 5, 5]]}, "no voxel"),
        ({"type": "polygon_lasso", "axis": 0, "points": [[1, 1, 1], [2, 5, 1], [1, 5, 5]]}, "one slice"),
    ],
)
def test_prompts_that_cannot_be_used_change_nothing(site: Site, wrong: dict, told: str) -> None:
    """Not even by the good prompt before them."""
    session = opened_session(site)
    body = {"prompts": [{"type": "box", "low": [0, 0, 0], "high": [2, 2, 2]}, wrong]}
    if wrong["type"] == "point" or told == "nothing was drawn":
        body["prompts"].pop(0)  # these the model refuses, when it comes to them
    assert told in post(site, f"/sessions/{session}/prompts", body, 400)["detail"]
    assert not mask(site, session).any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "circle", "at": [1, 1, 1]},
        {"type": "point", "at": [1, 1]},
        {"type": "point", "at": [1, 1, 1.5]},
        {"type": "point", "at": [1, 1, 1], "exclude": True},
        {"type": "polyline_scribble", "points": [], "radius": 1},
        {"type": "polyline_scribble", "points": [[1, 1, 1e99]], "radius": 1},
        {"type": "polyline_scribble", "points": [[1, 1, 1]], "radius": -1},
        {"type": "polygon_lasso", "axis": 3, "points": [[1, 1, 1], [1, 2, 2], [1, 3, 1]]},
    ],
)
def test_what_is_no_prompt_is_told_in_text(site: Site, wrong: dict) -> None:
    session = opened_session(site)
    told = post(site, f"/sessions/{session}/prompts", {"prompts": [wrong]}, 422)["detail"]
    assert isinstance(told, str)
    assert "prompts.0" in told


def test_what_is_no_json_is_told_in_text(site: Site) -> None:
    session = opened_session(site)
    headers = {"Content-Type": "application/json"}
    answer = site.client.post(f"/api/v1/sessions/{session}/prompts", content=b"{nope", headers=headers)
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


def test_a_body_without_end_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.dialects.api.common._Limited.most_bytes", 1000)
    session = opened_session(site)
    path, headers = f"/api/v1/sessions/{session}/prompts", {"Content-Type": "application/json"}
    pieces = (b" " * 600 for _ in range(3))
    for content in (b" " * 1001, pieces):
        assert site.client.post(path, content=content, headers=headers).status_code == 413
