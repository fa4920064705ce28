from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from app.core.mask import Mask
from app.core.progress import ignore_progress
from app.core.training import ModelSpec
from app.core.volume import Geometry, Volume
from app.errors import BadFile, BadInput, BadOption, Cancelled, ModelNotTrained
from app.models.device import Device, Priority
from app.models.trained.networks import Served, build_network
from app.models.trained.segmentation import Segmentation
from app.models.trained.spec import Version, write_snapshot, write_version
from tests.models.folders import known_version, tiny_spec, tiny_version
from tests.models.volumes import ball_mask, ball_volume

CPU = Device("cpu", threads=1, precision="fp32")


def ball_finder(folder: Path, spacing: float = 0.0) -> Version:
    """Calls intensities above 55 `ball`, and is sure of it."""
    spec = ModelSpec("segmentation", "", {}, ("ball",), (spacing,) * 3, (16, 16, 16), "window:0:100")
    return known_version(folder, spec, [[0.0], [100.0]], [0.0, -5.0])


def model(version: Version | None, device: Device = CPU) -> Segmentation:
    return Segmentation(
        "segmentation", Served(version.folder if version else None, device), device, ("liver", "spleen")
    )


def test_a_known_network_finds_the_ball(tmp_path: Path) -> None:
    volume = ball_volume()
    mask = model(ball_finder(tmp_path / "1")).segment(volume, ignore_progress, {})

    np.testing.assert_array_equal(mask.voxels_of(1), volume.voxels > 55)
    assert mask.layers[0].dtype == np.uint8
    assert [(segment.number, segment.name) for segment in mask.segments] == [(1, "ball")]
    assert mask.geometry is volume.geometry


def test_a_coarser_model_grid_finds_the_ball_in_its_place(tmp_path: Path) -> None:
    shape, centre = (30, 44, 38), (14, 25, 16)
    volume = ball_volume(shape, centre, 10)
    found = model(ball_finder(tmp_path / "1", spacing=1.5)).segment(volume, ignore_progress, {}).voxels_of(1)

    ball = ball_mask(shape, centre, 10)
    assert 2 * (found & ball).sum() / (found.sum() + ball.sum()) > 0.95
    np.testing.assert_allclose(np.argwhere(found).mean(axis=0), centre, atol=0.15)


def test_the_mask_of_given_probabilities_is_what_segmenting_answers(tmp_path: Path) -> None:
    segmenting, volume = model(tiny_version(tmp_path / "1", "segmentation", spacing=2.0)), ball_volume()
    mask = segmenting.mask_from(segmenting.probabilities(volume, ignore_progress), volume.geometry)
    wanted = segmenting.segment(volume, ignore_progress, {})
    assert (mask.sha256, mask.segments) == (wanted.sha256, wanted.segments)


def test_probabilities_lie_on_the_models_grid_and_sum_to_one(tmp_path: Path) -> None:
    volume = ball_volume(spacing=1.0)
    probabilities = model(tiny_version(tmp_path / "1", "segmentation", spacing=2.0)).probabilities(
        volume, ignore_progress
    )

    assert probabilities.shape == (3, 12, 14, 16)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, rtol=1e-4)


def test_flat_networks_segment_slice_by_slice(tmp_path: Path) -> None:
    spec = ModelSpec("segmentation", "", {}, ("ball",), (0.0, 0.0, 0.0), (1, 16, 16), "window:0:100")
    version = known_version(tmp_path / "1", spec, [[0.0], [100.0]], [0.0, -5.0])
    volume = ball_volume()

    np.testing.assert_array_equal(model(version).segment(volume, ignore_progress, {}).voxels_of(1), volume.voxels > 55)


def test_untrained_models_say_so(tmp_path: Path) -> None:
    untrained = model(None)
    assert not untrained.card.ready
    assert untrained.card.version == ""
    assert untrained.card.labels == ("liver", "spleen")
    with pytest.raises(ModelNotTrained, match="train"):
        untrained.segment(ball_volume(), ignore_progress, {})
    with pytest.raises(ModelNotTrained):
        untrained.probabilities(ball_volume(), ignore_progress)
    assert untrained.snapshots() == []


def test_a_model_serves_its_first_version_once_there_is_one(tmp_path: Path) -> None:
    served = model(None)
    served.use(ball_finder(tmp_path / "3").folder)

    assert served.card.ready
    assert served.card.version == "3"
    assert served.card.labels == ("ball",)
    assert served.segment(ball_volume(), ignore_progress, {}).voxels_of(1).any()


def test_snapshots_answer_with_their_own_weights(tmp_path: Path) -> None:
    spec = tiny_spec("segmentation")
    volume = ball_volume()
    states = []
    for seed in range(3):
        torch.manual_seed(seed)
        states.append(build_network(spec).state_dict())
    write_snapshot(tmp_path / "1", 1, states[0])
    write_snapshot(tmp_path / "1", 2, states[1])
    current = model(write_version(tmp_path / "1", spec, states[2]))
    snapshots = current.snapshots()

    assert len(snapshots) == 2
    for snapshot, state in zip(snapshots, (states[1], states[0]), strict=True):
        alone = model(write_version(tmp_path / "alone", spec, state))
        np.testing.assert_array_equal(
            snapshot.probabilities(volume, ignore_progress), alone.probabilities(volume, ignore_progress)
        )


def test_a_network_with_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    spec = ModelSpec("segmentation", "", {}, ("a", "b", "c"), (0.0, 0.0, 0.0), (16, 16, 16))
    version = known_version(tmp_path / "1", spec, [[0.0], [1.0]], [0.0, 0.0])
    with pytest.raises(BadFile, match="3 labels"):
        model(version).segment(ball_volume(), ignore_progress, {})


def test_unknown_options_and_bad_volumes_are_refused(tmp_path: Path) -> None:
    finder = model(ball_finder(tmp_path / "1"))
    with pytest.raises(BadOption):
        finder.segment(ball_volume(), ignore_progress, {"fast": True})
    voxels = np.full((4, 4, 4), np.nan, np.float32)
    with pytest.raises(BadInput):
        finder.segment(Volume(voxels, Geometry((4, 4, 4), np.eye(4))), ignore_progress, {})


def test_a_click_does_not_wait_for_the_whole_volume(tmp_path: Path) -> None:
    device = Device("cpu", threads=1, precision="fp32")
    finder = model(ball_finder(tmp_path / "1"), device)
    steps: list[str] = []
    first_window, clicked = threading.Event(), threading.Event()

    def progress(done: float, text: str = "") -> None:
        steps.append("window")
        if text == "segmenting" and not first_window.is_set():
            first_window.set()
            assert clicked.wait(60)

    result: list[Mask] = []
    work = threading.Thread(
        target=lambda: result.append(
            device.run(lambda: finder.segment(ball_volume(), progress, {}), Priority.AUTOMATIC, "a")
        )
    )
    work.start()
    assert first_window.wait(60)
    click = threading.Thread(target=lambda: device.run(lambda: steps.append("click")))
    click.start()
    while device.waiting == 0:
        time.sleep(0.002)
    clicked.set()
    work.join(60)
    click.join(60)
    device.shutdown()

    assert 0 < steps.index("click") < len(steps) - 3
    np.testing.assert_array_equal(result[0].voxels_of(1), ball_volume().voxels > 55)


def test_cancelled_work_leaves_the_device_usable(tmp_path: Path) -> None:
    device = Device("cpu", threads=1, precision="fp32")
    finder = model(ball_finder(tmp_path / "1"), device)

    def stop(done: float, text: str = "") -> None:
        if done > 0.3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        device.run(lambda: finder.segment(ball_volume(), stop, {}), Priority.AUTOMATIC)
    assert device.run(lambda: finder.segment(ball_volume(), ignore_progress, {}).voxels_of(1).any(), Priority.AUTOMATIC)
    device.shutdown()
