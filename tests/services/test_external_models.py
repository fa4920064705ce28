"""The registry of loaded models: what comes first, what is kept, what the model directory offers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.archives.memory import MemoryArchive
from app.core.volume import Geometry, Volume
from app.errors import BadFile, BadOption, ConfigurationError, NotSupported, ResourceExhausted, UnknownModel
from app.services import Services
from app.services import external_models as loaded_module
from app.services.external_models import Handling, LoadRequest, NoGreyWindow, NotLoaded
from app.settings import ModelSettings, Settings
from tests.models.onnx_files import blurry, saved, threshold

ONNX = LoadRequest("onnx", "a.onnx")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models" / "sub").mkdir(parents=True)
    saved(threshold(), tmp_path / "models" / "a.onnx")
    saved(threshold(0.25), tmp_path / "models" / "sub" / "a.onnx")
    saved(blurry(), tmp_path / "models" / "b.onnx")
    (tmp_path / "models" / "broken.onnx").write_bytes(b"no")
    (tmp_path / "models" / "notes.txt").write_text("not a model")
    return tmp_path / "models"


def services_at(tmp_path: Path, **settings: object) -> Services:
    models = {"clicks": ModelSettings(type="fake"), "bands": ModelSettings(type="fake_automatic")}
    values = {"models": models, "device": "cpu", "threads": 1, **settings}
    return Services.open(Settings(workspace=tmp_path / "w", **values), MemoryArchive())  # type: ignore[arg-type]


@pytest.fixture
def services(tmp_path: Path, folder: Path) -> Iterator[Services]:
    opened = services_at(tmp_path, model_dir=folder)
    yield opened
    opened.stop()


def volume(seed: int = 0) -> Volume:
    voxels = np.random.default_rng(seed).uniform(0, 1, (18, 14, 21)).astype(np.float32)
    return Volume(voxels, Geometry((18, 14, 21), np.diag([1.0, 2.0, 3.0, 1.0])))


def test_the_directory_is_loaded_as_far_as_it_can_be(services: Services, caplog: pytest.LogCaptureFixture):
    loaded = services.external
    loaded.load_directory()
    assert list(loaded.all()) == ["bands", "a", "b", "sub/a"]
    assert "broken.onnx" in caplog.text
    image = volume()
    for name, value in (("a", 0.5), ("sub/a", 0.25)):
        found = loaded.segment(loaded.get(name), image, Handling(), "anna")
        np.testing.assert_array_equal(found.labels, image.voxels > value)
        assert found.geometry is image.geometry


def test_the_directory_is_loaded_at_start(services: Services):
    services.start()
    for _ in range(1000):
        if "sub/a" in services.external.all():
            break
        threading.Event().wait(0.02)
    current = services.external.current()
    assert current is not None
    assert current.name == "a"


def test_the_current_model_is_the_last_loaded_then_the_first_named_then_an_own_one(services: Services):
    loaded = services.external

    def current() -> str:
        model = loaded.current()
        return model.name if model else ""

    assert current() == "bands"
    loaded.load_named("first", ONNX)
    loaded.load_named("second", ONNX)
    assert current() == "first"
    loaded.load(LoadRequest("onnx", "b.onnx"))
    assert current() == "b"
    loaded.load(LoadRequest("onnx", "bands"))
    assert current() == "bands"
    assert loaded.unload().name == "bands"
    assert current() == "first"
    assert loaded.unload().name == "first"
    assert current() == "second"
    loaded.unload_named("second")
    assert current() == "bands"
    with pytest.raises(NotLoaded, match="no model is loaded"):
        loaded.unload()


def test_a_current_model_has_its_name_for_the_other_generation_too(services: Services):
    loaded = services.external
    loaded.load(ONNX)
    assert loaded.get("a").name == "a"
    loaded.unload_named("a")
    with pytest.raises(NotLoaded, match="no model 'a' is loaded"):
        loaded.get("a")


def test_a_failed_load_changes_nothing(services: Services):
    loaded = services.external
    before = loaded.load(ONNX)
    named = loaded.load_named("x", ONNX)
    for request, error in [
        (LoadRequest("onnx", "broken.onnx"), BadFile),
        (LoadRequest("onnx", "none.onnx"), UnknownModel),
        (LoadRequest("onnx", "clicks"), UnknownModel),  # takes prompts
        (LoadRequest("torch", "a.onnx"), NotSupported),
        (LoadRequest("mmengine", "a.onnx"), UnknownModel),
        (LoadRequest("onnx", "a.onnx", options={"patch_stride": "x"}), BadOption),
    ]:
        with pytest.raises(error):
            loaded.load(request)
        with pytest.raises(error):
            loaded.load_named("x", request)
    assert loaded.current() is before
    assert loaded.get("x") is named


def test_a_file_that_changes_later_is_still_the_model_that_was_loaded(services: Services, folder: Path):
    model = services.external.load(ONNX)
    saved(threshold(0.9), folder / "a.onnx")
    found = services.external.segment(model, volume(), Handling(), "anna")
    np.testing.assert_array_equal(found.labels, volume().voxels > 0.5)
    again = services.external.segment(services.external.load(ONNX), volume(), Handling(), "anna")
    np.testing.assert_array_equal(again.labels, volume().voxels > 0.9)


def test_a_windowed_image_needs_a_window(services: Services):
    model = services.external.load(ONNX)
    with pytest.raises(NoGreyWindow):
        services.external.segment(model, volume(), Handling(windowed=True, level=0.5), "anna")
    image = volume()
    found = services.external.segment(model, image, Handling(windowed=True, level=0, width=0.5), "anna")
    np.testing.assert_array_equal(found.labels, image.voxels > 0)
    lpi = services.external.segment(model, image, Handling(windowed=True, level=0.6, width=1, lpi_grid=True), "anna")
    np.testing.assert_array_equal(lpi.labels[::-1], image.voxels > 0.6)
    assert lpi.geometry.origin == (0, 0, 3 * 17)


def test_only_so_many_models_are_kept_by_name(services: Services, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loaded_module, "MAX_NAMED", 2)
    services.external.load_named("1", ONNX)
    services.external.load_named("2", ONNX)
    with pytest.raises(ResourceExhausted):
        services.external.load_named("3", ONNX)
    services.external.load_named("2", LoadRequest("onnx", "b.onnx"))
    services.external.unload_named("1")
    services.external.load_named("3", ONNX)


def test_loads_and_uses_from_many_threads(services: Services):
    """Everyone who segments gets one whole model, whichever is loaded or unloaded meanwhile."""
    loaded, image, problems = services.external, volume(), []
    answers = {"a": image.voxels > 0.5, "sub/a": image.voxels > 0.25}
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            loaded.load(ONNX)
            loaded.load(LoadRequest("onnx", "sub/a.onnx"))
            loaded.unload()

    def use() -> None:
        for _ in range(15):
            model = loaded.current()
            if model is not None and model.engine is not None:
                found = loaded.segment(model, image, Handling(), "anna").labels
                if not np.array_equal(found, answers[model.request.model.removesuffix(".onnx")]):
                    problems.append(model.request.model)

    changer = threading.Thread(target=change)
    users = [threading.Thread(target=use) for _ in range(3)]
    for thread in (changer, *users):
        thread.start()
    for thread in users:
        thread.join(120)
    done.set()
    changer.join(120)
    assert problems == []


def test_a_model_directory_that_is_not_there_is_a_configuration_error(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="model_dir"):
        services_at(tmp_path, model_dir=tmp_path / "nowhere")


def test_without_a_model_directory_only_own_models_are_offered(tmp_path: Path):
    services = services_at(tmp_path)
    assert list(services.external.all()) == ["bands"]
    services.external.load_directory()
    with pytest.raises(UnknownModel):
        services.external.load(ONNX)
    assert services.external.load(LoadRequest("onnx", "bands")).name == "bands"
    services.stop()
