from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from app.core.progress import ignore_progress
from app.core.volume import Geometry, Volume
from app.errors import BadFile, Cancelled, ConfigurationError
from app.models.bundle import Bundle
from app.models.device import Device
from tests.models.folders import bundle
from tests.models.volumes import ball_mask

CPU = Device("cpu", threads=1, precision="fp32")
SHAPE = (14, 18, 22)


def oblique_volume() -> Volume:
    """A ball off the middle, on a grid that is neither RAS nor cubic."""
    turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, -1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [1.1, 1.2, 2.0]
    affine[:3, 3] = [30, -20, 11]
    voxels = (100 * ball_mask(SHAPE, (5, 11, 8), 4.5)).astype(np.int16)
    return Volume(voxels, Geometry(SHAPE, affine))


def test_the_answer_lies_on_the_cases_grid(tmp_path: Path) -> None:
    volume = oblique_volume()
    model = Bundle("ball", bundle(tmp_path / "ball", {"0": "background", "1": "ball"}, 2, spacing=0.8), CPU)
    found = model.segment(volume, ignore_progress, {}).voxels_of(1)

    ball = volume.voxels > 0
    assert found.shape == SHAPE
    assert 2 * (found & ball).sum() / (found.sum() + ball.sum()) > 0.9
    np.testing.assert_allclose(np.argwhere(found).mean(axis=0), (5, 11, 8), atol=0.2)


def test_the_card_is_the_metadata(tmp_path: Path) -> None:
    card = Bundle("ball", bundle(tmp_path / "ball", {"1": "ball", "0": "Background"}, 2), CPU).card

    assert card.labels == ("ball",)
    assert card.version == "ball-0.3.1"
    assert card.description == "finds bright balls"
    assert card.licence == "Copyright (c) Nobody"
    assert card.ready


def test_classes_without_a_background_may_overlap(tmp_path: Path) -> None:
    volume = oblique_volume()
    channels = {"0": "never", "1": "nowhere", "2": "ball"}
    mask = Bundle("three", bundle(tmp_path / "three", channels, 3), CPU).segment(volume, ignore_progress, {})

    assert [segment.name for segment in mask.segments] == ["never", "nowhere", "ball"]
    assert mask.overlapping
    assert not mask.voxels_of(1).any()
    assert mask.voxels_of(3).any()


def test_weights_with_code_are_refused(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "ball", {"0": "background", "1": "ball"}, 2)
    torch.save({"weight": print}, folder / "models" / "model.pt")
    with pytest.raises(BadFile, match="more than weights"):
        Bundle("ball", folder, CPU).segment(oblique_volume(), ignore_progress, {})


def test_pickle_must_not_be_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONAI_ALLOW_PICKLE", "1")
    with pytest.raises(ConfigurationError, match="MONAI_ALLOW_PICKLE"):
        Bundle("ball", bundle(tmp_path / "ball", {"0": "background", "1": "ball"}, 2), CPU)


def test_bundles_for_several_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="4 images"):
        Bundle("brain", bundle(tmp_path / "brain", {"0": "background", "1": "tumour"}, 2, images=4), CPU)


def test_metadata_that_disagrees_with_the_network_is_refused(tmp_path: Path) -> None:
    channels = {"0": "background", "1": "a", "2": "b"}
    with pytest.raises(BadFile, match="2 labels"):
        Bundle("ball", bundle(tmp_path / "ball", channels, 2), CPU).segment(oblique_volume(), ignore_progress, {})


def test_it_can_be_cancelled(tmp_path: Path) -> None:
    def stop(done: float, text: str = "") -> None:
        if text == "segmenting":
            raise Cancelled

    with pytest.raises(Cancelled):
        Bundle("ball", bundle(tmp_path / "ball", {"0": "background", "1": "ball"}, 2), CPU).segment(
            oblique_volume(), stop, {}
        )


def test_folders_that_are_no_bundles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile):
        Bundle("none", tmp_path, CPU)
