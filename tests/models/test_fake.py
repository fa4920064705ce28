from __future__ import annotations

import numpy as np
import pytest

from app.core.progress import ignore_progress
from app.core.prompt import Box, InitialMask, Lasso, Point, Region, Scribble
from app.core.volume import Geometry, Volume
from app.errors import BadInput, BadOption
from app.models.fake import FakeAutomatic, FakeInteractive
from tests.models.volumes import ball_volume


def ramp() -> Volume:
    voxels = np.arange(10, dtype=np.int16).reshape(1, 1, 10)
    return Volume(voxels, Geometry((1, 1, 10), np.eye(4)))


def test_a_point_grows_a_cube_cut_at_the_border() -> None:
    session = FakeInteractive(radius=2).open(ball_volume(), {})

    region = session.add(Point((0, 10, 10)))

    assert region == Region((0, 8, 8), (3, 13, 13))
    assert session.mask.sum() == 3 * 5 * 5
    assert session.mask[0:3, 8:13, 8:13].all()


def test_the_radius_is_an_option() -> None:
    session = FakeInteractive(radius=2).open(ball_volume(), {"radius": 0})
    session.add(Point((4, 5, 6)))

    assert np.argwhere(session.mask).tolist() == [[4, 5, 6]]


@pytest.mark.parametrize("options", [{"size": 3}, {"radius": 1.5}, {"radius": "3"}, {"radius": True}])
def test_wrong_options_are_refused(options: dict[str, int | float | str | bool]) -> None:
    with pytest.raises(BadOption):
        FakeInteractive().open(ball_volume(), options)


def test_excluding_points_clear() -> None:
    session = FakeInteractive(radius=1).open(ball_volume(), {})
    session.add(Point((5, 5, 5)))

    region = session.add(Point((5, 5, 7), include=False))

    assert region == Region((4, 4, 6), (7, 7, 7))
    assert session.mask.sum() == 2 * 3 * 3


def test_drawn_prompts_fill_what_was_drawn() -> None:
    session = FakeInteractive().open(ball_volume(), {})
    stroke = np.array([[[True, False, True]]])

    session.add(Scribble(Region((1, 2, 3), (2, 3, 6)), stroke))
    session.add(Lasso(Region((5, 5, 5), (6, 7, 7)), np.array([[[True, True], [False, True]]])))
    session.add(Box(Region((10, 10, 10), (11, 12, 13))))

    assert np.argwhere(session.mask).tolist() == [
        [1, 2, 3],
        [1, 2, 5],
        [5, 5, 5],
        [5, 5, 6],
        [5, 6, 6],
        *[[10, j, i] for j in (10, 11) for i in (10, 11, 12)],
    ]


def test_an_initial_mask_forgets_earlier_prompts() -> None:
    volume = ball_volume()
    session = FakeInteractive(radius=0).open(volume, {})
    session.add(Point((1, 1, 1)))
    start = np.zeros(volume.geometry.shape, bool)
    start[9, 9, 9] = True

    region = session.add(InitialMask(start))
    session.add(Point((2, 2, 2)))

    assert region == Region((1, 1, 1), (10, 10, 10))
    assert np.argwhere(session.mask).tolist() == [[2, 2, 2], [9, 9, 9]]


def test_a_noted_prompt_takes_part_in_the_next_prediction() -> None:
    session = FakeInteractive(radius=0).open(ball_volume(), {})

    assert session.add(Point((1, 1, 1)), predict=False) is None
    assert session.mask.sum() == 0
    assert session.add(Point((2, 2, 2))) == Region((1, 1, 1), (3, 3, 3))


def test_automatic_cuts_equal_bands() -> None:
    mask = FakeAutomatic(labels=("low", "high")).segment(ramp(), ignore_progress, {})

    # 0..9 in three bands of 3: below 3, below 6, the rest.
    assert mask.layers[0].ravel().tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert [segment.name for segment in mask.segments] == ["low", "high"]


def test_probabilities_sum_to_one_and_agree_with_the_mask() -> None:
    model = FakeAutomatic(labels=("low", "high"))
    voxels = np.random.default_rng(0).random((6, 7, 8))  # whole numbers would fall on the edges of bands
    volume = Volume(voxels, Geometry((6, 7, 8), np.eye(4)))

    probabilities = model.probabilities(volume, ignore_progress)

    np.testing.assert_allclose(probabilities.sum(axis=0), 1, rtol=1e-6)
    np.testing.assert_array_equal(probabilities.argmax(axis=0), model.segment(volume, ignore_progress, {}).layers[0])


def test_snapshots_are_less_certain_the_older_they_are() -> None:
    volume = ball_volume()
    certainty = [
        float(model.probabilities(volume, ignore_progress).max(axis=0).mean())
        for model in (FakeAutomatic(earlier=2), *FakeAutomatic(earlier=2).snapshots())
    ]

    assert len(certainty) == 3
    assert certainty == sorted(certainty, reverse=True)


@pytest.mark.parametrize("value", [0, 7])
def test_constant_volumes_are_refused(value: int) -> None:
    volume = Volume(np.full((3, 3, 3), value, np.int16), Geometry((3, 3, 3), np.eye(4)))
    with pytest.raises(BadInput, match=str(value)):
        FakeInteractive().open(volume, {})
    with pytest.raises(BadInput):
        FakeAutomatic().segment(volume, ignore_progress, {})
