"""What the how-tos show works as it stands on the page."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from fastapi import FastAPI

from app import plugins
from app.archives.registry import ArchiveOptions, ArchiveType
from app.core.archive import Archive
from app.core.progress import ignore_progress
from app.main import create_app
from app.models.device import Device
from app.models.registry import ModelOptions, ModelType
from app.plugins import Registry
from app.settings import Settings
from tests.contracts import test_archives, test_strategies, test_trainers
from tests.docs.examples import Examples
from tests.learning import phantoms
from tests.models.volumes import ball_volume

CPU = Device("cpu", threads=1, precision="fp32")


ARCHIVE_QUESTIONS = [
    test_archives.test_lists_image_series_with_what_is_known_of_them,
    test_archives.test_says_what_appears_changes_and_disappears,
    test_archives.test_hands_out_headers_in_slice_order_without_pixels,
    test_archives.test_an_unknown_case_is_an_error,
    test_archives.test_storing_again_is_harmless_and_versions_stand_side_by_side,
    test_archives.test_another_label_in_the_same_place_is_refused,
    test_archives.test_says_that_it_is_away_and_recovers,
]


def model_types() -> Registry[ModelType]:
    """A registry that has not looked yet."""
    return Registry(ModelType, "model type", "app.models", "segloop.models")


def test_a_strategy(tmp_path: Path) -> None:
    page = Examples.of("strategy", tmp_path)
    with page.added_to("strategies"):
        found = plugins.strategies()
        assert found.broken == ()
        plugin = found.found["longest_waiting"]
        assert plugin.description == "The case that was offered longest ago."
        strategy = plugin.create({})
        test_strategies.test_names_cases_of_the_pool_once_with_a_reason(strategy)
        test_strategies.test_a_pool_of_one_and_a_pool_of_none(strategy)
        test_strategies.test_the_same_pool_gives_the_same_answer(strategy)
        test_strategies.test_ten_thousand_cases_take_a_few_calls_each(strategy)
        test_strategies.test_twice_the_cases_are_twice_the_work(strategy)
        test_strategies.test_is_frozen(strategy)
        page.run_tests("tests/strategies/test_longest_waiting.py")


def test_a_trainer(tmp_path: Path) -> None:
    page = Examples.of("trainer", tmp_path)
    row = eval(page.texts["row of SHAPES"], {"phantoms": phantoms})
    settings = Settings(**yaml.safe_load(page.texts["settings.yaml"]))
    with page.added_to("trainers"):
        found = plugins.trainers()
        assert found.broken == ()
        for options in [settings.models["organs"].options, *row.values()]:
            trainer = found.found["segresnet"].create(options)
        assert settings.models["organs"].type in trainer.model_types
        subject = test_trainers.Subject(trainer, trainer.spec(phantoms.NAMES, None))
        test_trainers.test_the_spec_names_a_network_that_can_be_built(subject)
        test_trainers.test_it_states_which_model_types_it_serves_and_makes_one_of_them(subject)
        test_trainers.test_a_parent_that_fits_is_kept(subject)
        test_trainers.test_epochs_count_up_and_report(subject)


def test_a_model_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Examples.of("model-type", tmp_path)
    with page.added_to("app.models"):
        monkeypatch.setattr("app.settings.MODEL_TYPES", types := model_types())
        assert Settings(**yaml.safe_load(page.texts["settings.yaml"])).models["bright"].source == "bone"
        found = types.find()
        assert found.broken == ()
        model = found.found["threshold"].build("bright", ModelOptions("bone"), CPU)
        volume = ball_volume((8, 9, 10), (4, 4, 5), 3)
        assert model.segment(volume, ignore_progress, {"value": 0.0}).geometry == volume.geometry
        page.run_tests("tests/models/test_threshold.py")


def test_a_model_type_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Examples.of("model-type", tmp_path)
    project = tomllib.loads(page.texts["pyproject.toml"])["project"]
    site = tmp_path / "site"
    metadata = site / f"segloop_threshold-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in of.items())
        for group, of in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(points))
    (site / "segloop_threshold.py").write_text(page.texts["app/models/threshold.py"])
    monkeypatch.syspath_prepend(str(site))
    types = model_types()
    assert "threshold" in types.names()
    assert types.get("threshold").build("bright", ModelOptions("bone"), CPU).card.labels == ("bone",)


def test_an_archive(tmp_path: Path) -> None:
    page = Examples.of("archive", tmp_path)
    with page.added_to("app.archives"):
        types = Registry(ArchiveType, "archive type", "app.archives", "segloop.archives")
        assert types.find().broken == ()
        studies = Settings(**yaml.safe_load(page.texts["settings.yaml"])).studies.replace("/data/zips", str(tmp_path))
        assert studies.startswith("zip://")
        archive = types.get("zip").open(ArchiveOptions(studies, tmp_path))
        assert archive.check().endswith("0 series")
        module = page.load("tests/contracts/zip_site.py")
        make = eval(page.texts["row of ROWS"], vars(module))["zip"]["zip"]
        for number, question in enumerate(ARCHIVE_QUESTIONS):
            folder = tmp_path / f"site-{number}"
            folder.mkdir()
            given = {"site": make(None, folder), "tmp_path": folder}
            question(**{name: given[name] for name in inspect.signature(question).parameters})


def test_a_dialect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Examples.of("dialect", tmp_path)
    with page.added_to("app.dialects"):
        clicker = importlib.import_module("app.dialects.clicker")

        def create_app_with_clicker(settings: Settings, archive: Archive) -> FastAPI:
            app = create_app(settings, archive)
            app.router.routes.extend(clicker.router(app.state.services).routes)
            return app

        monkeypatch.setattr("tests.live.create_app", create_app_with_clicker)
        page.run_tests("tests/dialects/clicker/test_click.py")


def test_a_monai_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Examples.of("bring-your-own-model", tmp_path)
    monkeypatch.chdir(tmp_path)
    page.load("spleen/make_weights.py")
    settings = Settings(**yaml.safe_load(page.texts["bundle.yaml"])).models["spleen"]
    model = model_types().get(settings.type).build("spleen", ModelOptions(settings.source), CPU)
    assert model.card.ready
    volume = ball_volume((20, 24, 28), (9, 12, 14), 6)
    mask = model.segment(volume, ignore_progress, {})
    assert [segment.name for segment in mask.segments] == ["spleen"]
    assert mask.geometry == volume.geometry


def test_an_onnx_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.models.itkit.inference_config import InferenceConfig
    from app.models.itkit.onnx import open_onnx

    page = Examples.of("bring-your-own-model", tmp_path)
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    page.load("export.py")
    folder = Settings(**yaml.safe_load(page.texts["onnx.yaml"])).model_dir
    assert folder is not None
    model = open_onnx(folder / "lesion.onnx", CPU, InferenceConfig(), threads=1)
    assert (model.classes, model.grey.level, model.grey.width) == (2, 50.0, 350.0)
    assert model.label(np.zeros((20, 40, 40), np.float32), None).shape == (20, 40, 40)


def test_a_torchscript_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Examples.of("bring-your-own-model", tmp_path)
    with page.added_to("app.models"):
        monkeypatch.setattr("app.settings.MODEL_TYPES", types := model_types())
        Settings(**yaml.safe_load(page.texts["torchscript.yaml"]))
        found = types.find()
        assert found.broken == ()
        declared = found.found["torchscript"]
        assert declared.sample is not None
        model = declared.build("lesion", declared.sample(tmp_path), CPU)
        volume = ball_volume((20, 24, 28), (9, 12, 14), 6)
        mask = model.segment(volume, ignore_progress, {})
    assert [segment.name for segment in mask.segments] == ["lesion"]
    assert mask.geometry == volume.geometry
