from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.core.guidance import point_guidance
from app.core.prompt import InitialMask, Point, Region
from app.core.training import ModelSpec
from app.core.volume import Geometry, Index, Volume
from app.errors import BadPrompt, ModelNotTrained
from app.models.device import Device
from app.models.trained.deepgrow import Deepgrow
from app.models.trained.networks import Served
from tests.models.folders import known_version
from tests.models.volumes import ball_volume

CPU = Device("cpu", threads=1, precision="fp32")


def grower(folder: Path, patch: Index, spacing: float = 0.0) -> Deepgrow:
    """Takes what is brighter than 50, adds what the including signal lights up and removes what the excluding does."""
    spec = ModelSpec("deepgrow", "", {}, (), (spacing,) * 3, patch, "window:0:100")
    version = known_version(folder, spec, [[100.0, 100.0, -1000.0]], [-10.0])
    return Deepgrow("deepgrow", Served(version.folder, CPU), CPU)


def lit(shape: Index, points: list[Index], above: float) -> np.ndarray:
    return point_guidance(shape, points, 2.0) > above


def test_a_click_takes_the_ball_around_it(tmp_path: Path) -> None:
    volume = ball_volume()
    session = grower(tmp_path / "1", (24, 28, 32)).open(volume, {})
    region = session.add(Point((11, 13, 17)))

    expected = (volume.voxels > 60) | lit(volume.geometry.shape, [(11, 13, 17)], 0.1)
    np.testing.assert_array_equal(session.mask, expected)
    assert region == Region.around(expected)


def test_signals_go_to_their_own_channels(tmp_path: Path) -> None:
    # Where the image says nothing, the including point lights up and the excluding one darkens.
    voxels = np.zeros((20, 20, 20), np.int16)
    voxels[0, 0, 0] = 100
    volume = Volume(voxels, Geometry((20, 20, 20), np.eye(4)))
    session = grower(tmp_path / "1", (20, 20, 20)).open(volume, {})
    session.add(Point((10, 10, 8)))
    alone = session.mask.copy()
    session.add(Point((10, 10, 12), include=False))

    shape = (20, 20, 20)
    np.testing.assert_array_equal(alone[1:], lit(shape, [(10, 10, 8)], 0.1)[1:])
    both = 100 * point_guidance(shape, [(10, 10, 8)], 2.0) - 1000 * point_guidance(shape, [(10, 10, 12)], 2.0)
    np.testing.assert_array_equal(session.mask[1:], (both > 10)[1:])
    assert 0 < session.mask.sum() < alone.sum()


def test_a_3d_model_works_in_its_patch_around_the_click(tmp_path: Path) -> None:
    volume = ball_volume((40, 40, 40), (20, 20, 20), 15)
    session = grower(tmp_path / "1", (16, 16, 16)).open(volume, {})
    session.add(Point((20, 20, 20)))

    expected = np.zeros((40, 40, 40), bool)
    expected[12:28, 12:28, 12:28] = (volume.voxels > 60)[12:28, 12:28, 12:28]
    expected[20, 20, 20] = True
    found = session.mask.astype(bool)
    assert Region.around(found) == Region((12, 12, 12), (28, 28, 28))
    assert (found != expected).sum() <= lit((40, 40, 40), [(20, 20, 20)], 0.1).sum()


def test_points_far_apart_are_covered_by_windows(tmp_path: Path) -> None:
    volume = ball_volume((40, 40, 40), (20, 20, 20), 18)
    session = grower(tmp_path / "1", (16, 16, 16)).open(volume, {})
    session.add(Point((20, 20, 6)))
    session.add(Point((20, 20, 34)))

    assert session.mask[20, 20, 6:35].all()


def test_a_2d_model_answers_for_the_clicked_slice_only(tmp_path: Path) -> None:
    volume = ball_volume()
    model = grower(tmp_path / "1", (1, 32, 32))
    session = model.open(volume, {})
    assert model.card.dimension == 2
    session.add(Point((11, 13, 17)))
    region = session.add(Point((14, 13, 17)))

    assert region is not None
    assert (region.low[0], region.high[0]) == (14, 15)
    for k in range(24):
        flat = lit((1, 28, 32), [(0, 13, 17)], 0.1)[0]
        expected = (volume.voxels[k] > 60) | flat if k in (11, 14) else np.zeros((28, 32), bool)
        np.testing.assert_array_equal(session.mask[k], expected)


def test_a_2d_model_keeps_thick_slices_apart(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    volume = Volume(ball_volume().voxels, Geometry((24, 28, 32), affine))
    session = grower(tmp_path / "1", (1, 32, 32), spacing=1.0).open(volume, {})
    region = session.add(Point((11, 13, 17)))

    assert region is not None
    assert (region.low[0], region.high[0]) == (11, 12)


def test_a_coarser_grid_grows_in_the_right_place(tmp_path: Path) -> None:
    volume = ball_volume((32, 32, 32), (20, 12, 16), 9)
    session = grower(tmp_path / "1", (16, 16, 16), spacing=2.0).open(volume, {})
    session.add(Point((20, 12, 16)))

    np.testing.assert_allclose(np.argwhere(session.mask).mean(axis=0), (20, 12, 16), atol=0.3)


def test_excluding_points_alone_change_nothing_and_count_later(tmp_path: Path) -> None:
    volume = ball_volume()
    model = grower(tmp_path / "1", (24, 28, 32))
    session, other = model.open(volume, {}), model.open(volume, {})
    assert session.add(Point((11, 13, 20), include=False)) is None
    session.add(Point((11, 13, 17)))
    other.add(Point((11, 13, 17)))
    other.add(Point((11, 13, 20), include=False))

    np.testing.assert_array_equal(session.mask, other.mask)


def test_an_initial_mask_stays_outside_the_patch(tmp_path: Path) -> None:
    volume = ball_volume((40, 40, 40), (20, 20, 20), 5)
    start = np.zeros((40, 40, 40), bool)
    start[0:3] = True
    session = grower(tmp_path / "1", (16, 16, 16)).open(volume, {})
    session.add(InitialMask(start))
    session.add(Point((20, 20, 20)))

    assert session.mask[0:3].all()
    assert session.mask[20, 20, 20]


def test_boxes_are_not_taken(tmp_path: Path) -> None:
    from app.core.prompt import Box

    session = grower(tmp_path / "1", (16, 16, 16)).open(ball_volume(), {})
    with pytest.raises(BadPrompt, match="points"):
        session.add(Box(Region((1, 1, 1), (2, 3, 4))))


def test_untrained_models_say_so() -> None:
    model = Deepgrow("deepgrow_2d", Served(None, CPU), CPU, flat=True)
    assert not model.card.ready
    assert model.card.dimension == 2
    with pytest.raises(ModelNotTrained):
        model.open(ball_volume(), {})
