from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.core.guidance import point_guidance
from app.core.progress import ignore_progress
from app.core.training import ModelSpec
from app.core.volume import Geometry, Volume
from app.errors import BadPrompt, ModelNotTrained
from app.models.device import Device
from app.models.trained.deepedit import DeepEdit
from app.models.trained.networks import Served
from tests.models.folders import known_version
from tests.models.volumes import ball_volume

CPU = Device("cpu", threads=1, precision="fp32")
SHAPE = (20, 22, 24)


def editor(folder: Path) -> DeepEdit:
    """Calls bright voxels `left`; a label's signal makes it that label, the background's makes it nothing."""
    spec = ModelSpec("deepedit", "", {}, ("left", "right"), (0.0, 0.0, 0.0), SHAPE, "window:0:100")
    weights = [
        # image, left's signal, right's signal, background's signal
        [0.0, 0.0, 0.0, 500.0],
        [100.0, 200.0, 0.0, 0.0],
        [0.0, 0.0, 300.0, 0.0],
    ]
    version = known_version(folder, spec, weights, [10.0, 0.0, 0.0])
    return DeepEdit("deepedit", Served(version.folder, CPU), CPU)


def dark_volume() -> Volume:
    voxels = np.zeros(SHAPE, np.int16)
    voxels[0, 0, 0] = 100
    return Volume(voxels, Geometry(SHAPE, np.eye(4)))


def test_without_points_it_segments_on_its_own(tmp_path: Path) -> None:
    volume = ball_volume(SHAPE, (10, 11, 12), 6)
    mask = editor(tmp_path / "1").segment(volume, ignore_progress, {})

    np.testing.assert_array_equal(mask.voxels_of(1), volume.voxels > 60)
    assert not mask.voxels_of(2).any()
    assert [segment.name for segment in mask.segments] == ["left", "right"]


def test_each_labels_points_go_to_its_channel_and_the_backgrounds_to_the_last(tmp_path: Path) -> None:
    points = {"right": [(5, 6, 7), (5, 6, 9)], "background": [(12, 12, 12)], "left": [(15, 15, 18)]}
    mask = editor(tmp_path / "1").segment_with_points(dark_volume(), points, ignore_progress, {})

    signals = {name: point_guidance(SHAPE, at, 3.0) for name, at in points.items()}
    logits = np.stack([10 + 500 * signals["background"], 200 * signals["left"], 300 * signals["right"]])
    expected = logits.argmax(axis=0)
    np.testing.assert_array_equal(mask.layers[0][1:], expected[1:])
    assert mask.layers[0][5, 6, 8] == 2
    assert mask.layers[0][15, 15, 18] == 1
    assert mask.layers[0][12, 12, 12] == 0


@pytest.mark.parametrize("points", [{"heart": [(1, 1, 1)]}, {"left": [(20, 0, 0)]}, {"background": [(0, 0, -1)]}])
def test_wrong_points_are_refused(tmp_path: Path, points: dict[str, list[tuple[int, int, int]]]) -> None:
    with pytest.raises(BadPrompt):
        editor(tmp_path / "1").segment_with_points(dark_volume(), points, ignore_progress, {})


def test_untrained_models_say_so() -> None:
    model = DeepEdit("deepedit", Served(None, CPU), CPU, ("left",))
    assert (model.card.ready, model.card.labels, model.card.kind) == (False, ("left",), "deepedit")
    with pytest.raises(ModelNotTrained):
        model.segment(dark_volume(), ignore_progress, {})
