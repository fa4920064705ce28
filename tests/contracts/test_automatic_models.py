"""What every model type that takes no prompts owes the services, asked of each in the registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.model import AnyModel
from app.core.volume import Geometry, Volume
from app.errors import BadInput, BadOption, BadPrompt, Cancelled, ModelNotTrained
from app.models.device import Device
from app.models.registry import ModelOptions
from tests.contracts.model_samples import CENTRE, SHAPE, Sample, samples
from tests.models.volumes import ball_volume

ALONE = samples("automatic", "deepedit")


def ignore_progress(done: float, text: str = "") -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    made = Device("cpu", threads=1, precision="fp32")
    yield made
    made.shutdown()


@pytest.fixture(scope="module", params=ALONE)
def sample(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def model(sample: Sample, tmp_path_factory: pytest.TempPathFactory, device: Device) -> AnyModel:
    made: AnyModel = sample.make(tmp_path_factory.mktemp("contract"), device)
    return made


def test_the_card_can_be_shown(model: Any, sample: Sample) -> None:
    card = model.card
    assert card.ready
    assert card.version
    assert card.description
    assert card.labels
    assert card.kind == sample.type.kind
    assert not card.takes_prompts


def test_the_mask_has_the_cards_labels_on_the_volumes_grid(model: Any) -> None:
    volume = ball_volume(SHAPE, CENTRE, 7)
    mask = model.segment(volume, ignore_progress, {})
    assert mask.geometry == volume.geometry
    assert [(one.number, one.name) for one in mask.segments] == list(enumerate(model.card.labels, start=1))
    assert all(layer.dtype == np.uint8 and layer.shape == SHAPE for layer in mask.layers)
    again = model.segment(volume, ignore_progress, {})
    np.testing.assert_array_equal(mask.labelmap(), again.labelmap())


def test_progress_rises_and_can_cancel(model: Any) -> None:
    seen: list[float] = []
    model.segment(ball_volume(SHAPE, CENTRE, 7), lambda done, text="": seen.append(done), {})
    assert seen == sorted(seen)
    assert all(0 <= done <= 1 for done in seen)

    def stop(done: float, text: str = "") -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        model.segment(ball_volume(SHAPE, CENTRE, 7), stop, {})


@pytest.mark.parametrize("voxels", [np.full(SHAPE, 4, np.int16), np.full(SHAPE, np.nan)])
def test_volumes_nobody_can_segment_are_refused(model: Any, voxels: Any) -> None:
    with pytest.raises(BadInput):
        model.segment(Volume(voxels, Geometry(SHAPE, np.eye(4))), ignore_progress, {})


def test_unknown_options_are_refused(model: Any) -> None:
    with pytest.raises(BadOption, match="tempo"):
        model.segment(ball_volume(SHAPE, CENTRE, 7), ignore_progress, {"tempo": 3})


@pytest.mark.parametrize("sample", [one for one in ALONE if one.values[0].type.scored], indirect=True)
def test_scored_types_give_a_distribution_over_classes(model: Any) -> None:
    found = model.probabilities(ball_volume(SHAPE, CENTRE, 7), ignore_progress)
    assert found.dtype == np.float32
    assert found.ndim == 4
    assert found.shape[0] == len(model.card.labels) + 1
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-4)
    assert isinstance(model.snapshots(), list)


@pytest.mark.parametrize("sample", [one for one in ALONE if one.values[0].type.kind == "deepedit"], indirect=True)
def test_points_per_label_are_taken(model: Any) -> None:
    volume = ball_volume(SHAPE, CENTRE, 7)
    points = {name: [CENTRE] for name in [model.card.labels[0], "background"]}
    assert model.segment_with_points(volume, points, ignore_progress, {}).geometry == volume.geometry
    for wrong in ({"no such label": [CENTRE]}, {model.card.labels[0]: [SHAPE]}):
        with pytest.raises(BadPrompt):
            model.segment_with_points(volume, wrong, ignore_progress, {})


@pytest.mark.parametrize("sample", [one for one in ALONE if one.values[0].type.trained], indirect=True)
def test_trained_types_say_when_they_are_not(sample: Sample, tmp_path: Path, device: Device) -> None:
    untrained: Any = sample.type.build("asked", ModelOptions(labels=("liver",)), device)
    assert not untrained.card.ready
    with pytest.raises(ModelNotTrained):
        untrained.segment(ball_volume(SHAPE, CENTRE, 7), ignore_progress, {})
