from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.core.model import AnyModel
from app.errors import BadFile, ConfigurationError, UnknownModel
from app.models.device import Device
from app.models.registry import MODEL_TYPES, ModelOptions
from tests.models.folders import tiny_nninteractive, tiny_version

CPU = Device("cpu", threads=1, precision="fp32")
FOUND = MODEL_TYPES.find()


def build(type_: str, **options: Any) -> Any:
    made: AnyModel = MODEL_TYPES.get(type_).build("mine", ModelOptions(**options), CPU)
    return made


def test_all_that_ship_are_found() -> None:
    assert FOUND.broken == ()
    shipped = {"nninteractive", "deepgrow_2d", "deepgrow_3d", "deepedit", "segmentation", "histogram_graphcut"}
    assert shipped | {"gmm_graphcut", "bundle", "fake", "fake_automatic"} <= set(FOUND.found)


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
def test_each_type_builds_a_model_of_its_kind(type_: str, kind: str, dimension: int) -> None:
    model = build(type_, labels=("liver",))

    assert model.card.name == "mine"
    assert (model.card.kind, model.card.dimension) == (kind, dimension)
    assert MODEL_TYPES.get(type_).kind == kind
    interactive = kind in {"interactive", "scribbles"}
    assert hasattr(model, "open") == interactive
    assert hasattr(model, "segment") == (not interactive)


@pytest.mark.parametrize(
    "type_", [name for name, declared in FOUND.found.items() if declared.trained and name != "nninteractive"]
)
def test_trained_types_without_a_source_take_their_first_version_later(tmp_path: Path, type_: str) -> None:
    model = build(type_)
    assert not model.card.ready

    model.use(tiny_version(tmp_path / "4", type_).folder)
    assert model.card.ready
    assert model.card.version == "4"
    assert build(type_, version=tmp_path / "4").card == model.card


@pytest.mark.parametrize("type_", sorted(FOUND.found))
def test_only_trained_types_import_weights(type_: str) -> None:
    declared = FOUND.found[type_]
    assert declared.importer is None or declared.trained


def test_nninteractive_takes_a_folder(tmp_path: Path) -> None:
    first, second = tiny_nninteractive(tmp_path / "model"), tiny_nninteractive(tmp_path / "other", seed=1)
    model = build("nninteractive", source=str(first))

    assert model.card.licence == "Test licence 1.0"
    before = model.card.version
    model.use(second)
    assert model.card.version != before


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        build("nninteractive", source=str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="source"):
        build("bundle")
    with pytest.raises(BadFile):
        build("segmentation", version=tmp_path)
    with pytest.raises(ConfigurationError, match=r"no model type 'magic'; there are: .*fake"):
        build("magic")


def test_settings_and_building_models_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from app.settings import Settings\n"
        "from app.models.registry import MODEL_TYPES, ModelOptions\n"
        "from app.models.device import Device\n"
        "Settings()\n"
        "for t in MODEL_TYPES.find().found.values():\n"
        "    t.name == 'bundle' or t.build('m', ModelOptions(), Device('auto')).card\n"
        "heavy = {'torch', 'monai', 'scipy', 'skimage', 'sklearn', 'maxflow', 'nibabel', 'onnxruntime', 'pydicom'}\n"
        "heavy &= set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
