from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from app.models.library import ModelOptions, Swappable, build_model

from app.core.model import AutomaticModel, InteractiveModel
from app.errors import BadFile, ConfigurationError, UnknownModel
from app.models.device import Device
from app.settings import ModelType
from tests.models.folders import tiny_nninteractive, tiny_version

CPU = Device("cpu", threads=1, precision="fp32")


@pytest.mark.parametrize(
    ("type_", "kind", "dimension"),
    [
        ("nninteractive", "interactive", 3),
        ("deepgrow_2d", "interactive", 2),
        ("deepgrow_3d", "interactive", 3),
        ("deepedit", "deepedit", 3),
        ("segmentation", "automatic", 3),
        ("histogram_graphcut", "scribbles", 3),
        ("gmm_graphcut", "scribbles", 3),
        ("fake", "interactive", 3),
        ("fake_automatic", "automatic", 3),
    ],
)
def test_each_type_builds_a_model_of_its_kind(type_: ModelType, kind: str, dimension: int) -> None:
    model = build_model("mine", ModelOptions(type_, labels=("liver",)), CPU)

    assert model.card.name == "mine"
    assert (model.card.kind, model.card.dimension) == (kind, dimension)
    interactive = kind in {"interactive", "scribbles"}
    assert hasattr(model, "open") == interactive
    assert hasattr(model, "segment") == (not interactive)


@pytest.mark.parametrize("type_", ["deepgrow_2d", "deepgrow_3d", "deepedit", "segmentation"])
def test_trained_types_take_their_first_version_later(tmp_path: Path, type_: ModelType) -> None:
    model: InteractiveModel | AutomaticModel = build_model("mine", ModelOptions(type_), CPU)
    assert isinstance(model, Swappable)
    assert not model.card.ready

    model.use(tiny_version(tmp_path / "4", type_).folder)
    assert model.card.ready
    assert model.card.version == "4"
    assert build_model("mine", ModelOptions(type_, version=tmp_path / "4"), CPU).card == model.card


def test_nninteractive_takes_a_folder(tmp_path: Path) -> None:
    folder = tiny_nninteractive(tmp_path / "model")
    model = build_model("mine", ModelOptions("nninteractive", str(folder), autozoom=False), CPU)

    assert model.card.licence == "Test licence 1.0"
    assert isinstance(model, Swappable)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        build_model("mine", ModelOptions("nninteractive", str(tmp_path / "none")), CPU)
    with pytest.raises(ConfigurationError, match="source"):
        build_model("mine", ModelOptions("bundle"), CPU)
    with pytest.raises(BadFile):
        build_model("mine", ModelOptions("segmentation", version=tmp_path), CPU)


def test_building_models_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from app.models.library import ModelOptions, build_model\n"
        "from app.models.device import Device\n"
        "for t in ('nninteractive', 'deepgrow_2d', 'deepedit', 'segmentation', 'gmm_graphcut', 'fake'):\n"
        "    build_model('m', ModelOptions(t), Device('auto')).card\n"
        "heavy = {'torch', 'monai', 'scipy', 'skimage', 'sklearn', 'maxflow', 'nibabel'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
