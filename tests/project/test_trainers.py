"""A model and its trainer have to fit; what doesn't is said before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import ConfigurationError
from app.project.trainers import check_spec, trainer_of
from tests.learning import phantoms


def opened(folder: Path, **model: object) -> phantoms.Project:
    return phantoms.project(phantoms.settings(folder, **model))


def test_the_trainer_of_the_settings_with_its_options(tmp_path: Path) -> None:
    project = opened(tmp_path, type="segmentation", trainer="segmentation", options={"batch": 3})
    trainer = trainer_of(project, "segmentation", {"steps_per_epoch": 4, "who": "ann"})
    assert (trainer.batch, trainer.steps_per_epoch) == (3, 4)  # type: ignore[attr-defined]
    check_spec(project, "segmentation", trainer.spec(("liver",), None))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"type": "segmentation", "trainer": ""}, "no usable trainer"),
        ({"type": "segmentation", "trainer": "magic"}, "no usable trainer 'magic'"),
        (
            {"type": "segmentation", "trainer": "deepgrow"},
            "type deepgrow_2d, deepgrow_3d; segmentation is a segmentation",
        ),
        ({"type": "fake", "trainer": "segmentation"}, "segmentation is a fake"),
    ],
)
def test_a_trainer_that_does_not_fit(tmp_path: Path, model: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        trainer_of(opened(tmp_path, **model), "segmentation", {})


def test_a_trainer_whose_options_make_another_type(tmp_path: Path) -> None:
    project = opened(tmp_path, type="deepgrow_2d", trainer="deepgrow", options={"dimension": 3})
    spec = trainer_of(project, "segmentation", {}).spec(("liver",), None)
    with pytest.raises(ConfigurationError, match="would make a deepgrow_3d with these options"):
        check_spec(project, "segmentation", spec)
