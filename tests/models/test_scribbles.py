from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import app.models.scribbles as scribbles_module
from app.core.prompt import Box, InitialMask, Prompt, Region, Scribble
from app.core.volume import Geometry, Volume
from app.errors import BadOption, BadPrompt
from app.models.scribbles import Likelihood, Scribbles
from tests.models.volumes import ball_mask, ball_volume

INSIDE = Scribble(Region((11, 13, 14), (12, 14, 21)), np.ones((1, 1, 7), bool))
OUTSIDE = Scribble(Region((11, 2, 4), (12, 3, 28)), np.ones((1, 1, 24), bool), include=False)
BALL = ball_mask((24, 28, 32), (11, 13, 17), 7)

methods = pytest.mark.parametrize("method", ["histogram", "gmm"])


def dice(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    return float(2 * (a.astype(bool) & b.astype(bool)).sum() / (a.astype(bool).sum() + b.astype(bool).sum()))


def after(method: Likelihood, *prompts: Prompt, **options: float) -> NDArray[np.uint8]:
    session = Scribbles("scribbles", method).open(ball_volume(), options)
    for prompt in prompts:
        session.add(prompt)
    return session.mask


@methods
def test_strokes_inside_and_outside_give_the_ball(method: Likelihood) -> None:
    assert dice(after(method, INSIDE, OUTSIDE), BALL) > 0.99


@methods
def test_one_kind_of_stroke_waits_for_the_other(method: Likelihood) -> None:
    session = Scribbles("scribbles", method).open(ball_volume(), {})
    assert session.add(OUTSIDE) is None
    assert not session.mask.any()
    assert session.add(INSIDE) is not None


@methods
def test_painted_voxels_keep_their_side_whatever_the_intensities_say(method: Likelihood) -> None:
    dark = Scribble(Region((11, 4, 4), (12, 6, 6)), np.ones((1, 2, 2), bool))
    bright = Scribble(Region((10, 12, 16), (11, 13, 18)), np.ones((1, 1, 2), bool), include=False)
    mask = after(method, INSIDE, OUTSIDE, dark, bright)

    assert mask[11, 4:6, 4:6].all()
    assert not mask[10, 12, 16:18].any()


def test_a_later_stroke_paints_over_an_earlier_one() -> None:
    over = Scribble(INSIDE.region, INSIDE.voxels, include=False)
    mask = after(
        "histogram", INSIDE, OUTSIDE, over, Scribble(Region((11, 13, 17), (12, 14, 18)), np.ones((1, 1, 1), bool))
    )

    assert mask[11, 13, 17] == 1
    assert not mask[11, 13, 14:17].any()


def test_a_box_limits_where() -> None:
    box = Box(Region((8, 6, 10), (15, 21, 25)))
    strokes = Scribble(Region((11, 6, 11), (12, 7, 24)), np.ones((1, 1, 13), bool), include=False)
    corner = Scribble(Region((8, 6, 10), (9, 7, 12)), np.ones((1, 1, 2), bool), include=False)
    mask = after("histogram", box, INSIDE, strokes, corner)

    assert not mask[:8].any()
    assert not mask[15:].any()
    assert mask[9:14, 11:16, 14:20].all()


def test_a_box_without_strokes_in_it_is_refused_and_forgotten() -> None:
    session = Scribbles("scribbles", "histogram").open(ball_volume(), {})
    session.add(INSIDE)
    session.add(OUTSIDE)
    before = session.mask.copy()
    with pytest.raises(BadPrompt, match="inside the box"):
        session.add(Box(Region((20, 20, 20), (22, 22, 22))))
    np.testing.assert_array_equal(session.mask, before)
    session.add(INSIDE)
    np.testing.assert_array_equal(session.mask, before)


def test_the_cut_is_the_cheapest_labelling() -> None:
    """Against all 2^6 labellings of six voxels, with the costs written out."""
    image = np.array([0.0, 0.2, 0.45, 0.6, 0.9, 1.0]).reshape(1, 1, 6)
    chance = np.array([0.2, 0.6, 0.3, 0.7, 0.4, 0.8]).reshape(1, 1, 6)
    seeds = np.array([1, 0, 0, 0, 0, 2], np.int8).reshape(1, 1, 6)
    smoothness, sigma = 0.7, 0.3

    def cost(labels: tuple[int, ...]) -> float:
        own = sum(-np.log(p if label else 1 - p) for p, label in zip(chance.ravel()[1:5], labels[1:5], strict=True))
        pairs = sum(
            smoothness * np.exp(-((b - a) ** 2) / (2 * sigma**2))
            for a, b, x, y in zip(image.ravel(), image.ravel()[1:], labels, labels[1:], strict=False)
            if x != y
        )
        return float(own + pairs)

    best = min((tuple((code >> bit) & 1 for bit in range(6)) for code in range(32, 64)), key=lambda c: cost(fixed(c)))
    found = scribbles_module._cut(image, chance, seeds, smoothness, sigma)

    assert tuple(found.ravel()) == fixed(best)


def fixed(labels: tuple[int, ...]) -> tuple[int, ...]:
    """The painted ends can't be chosen: the first is outside, the last inside."""
    return (0, *labels[1:5], 1)


def test_histogram_likelihood_is_counting() -> None:
    samples = np.array([0.0, 0.01, 0.02, 0.99])
    image = np.array([0.0, 0.5, 1.0])

    # 32 bins with one added to each: 3 + 1, 0 + 1 and 1 + 1 of 4 + 32.
    np.testing.assert_allclose(scribbles_module._histogram_density(image, samples), np.array([4, 1, 2]) / 36)


def test_a_smoother_cut_has_no_islands() -> None:
    voxels = ball_volume().voxels.copy()
    voxels[3, 3, 3] = 100
    volume = Volume(voxels, Geometry(voxels.shape, np.eye(4)))  # type: ignore[arg-type]
    masks = []
    for options in ({"lambda": 0.0}, {"lambda": 50.0, "sigma": 10.0}):
        session = Scribbles("scribbles", "histogram").open(volume, options)
        session.add(INSIDE)
        session.add(OUTSIDE)
        masks.append(session.mask)

    assert masks[0][3, 3, 3] == 1
    assert masks[1][3, 3, 3] == 0
    assert masks[1][11, 13, 17] == 1


def test_an_initial_mask_stays_beyond_the_margin() -> None:
    start = np.zeros((24, 28, 32), bool)
    start[23] = True
    mask = after("histogram", InitialMask(start), INSIDE, OUTSIDE, margin=2)

    assert mask[23].all()
    assert not mask[14:23].any()


def test_regions_too_large_to_cut_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribbles_module, "_MAX_VOXELS", 1000)
    session = Scribbles("scribbles", "histogram").open(ball_volume(), {})
    session.add(INSIDE)
    with pytest.raises(BadPrompt, match="draw a box"):
        session.add(OUTSIDE)


def test_without_pymaxflow_a_random_walk_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    find: Callable[[str], object] = scribbles_module.find_spec
    monkeypatch.setattr(scribbles_module, "find_spec", lambda name: None if name == "maxflow" else find(name))

    assert "not installed" in Scribbles("scribbles", "histogram").card.description
    mask = after("histogram", INSIDE, OUTSIDE, margin=6)
    assert dice(mask[5:18], BALL[5:18]) > 0.95


@pytest.mark.parametrize("options", [{"lambda": "smooth"}, {"margin": 2.5}, {"lamda": 1.0}])
def test_wrong_options_are_refused(options: dict[str, float | str]) -> None:
    with pytest.raises(BadOption):
        Scribbles("scribbles", "gmm").open(ball_volume(), options)
