"""Several people at once: no crash, and nobody gets another's result."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from tests.dialects.itkit.site import Site, above, image, opened, packed, unpacked
from tests.models import fake_mmengine

WINDOW = {"window_level": "50", "window_width": "350"}


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(120) for future in [pool.submit(call) for call in calls]]


def test_two_loads_at_once(site: Site):
    for _ in range(5):
        answers = at_once(*[lambda m=m: site.load(m) for m in ("spleen.onnx", "blurry.onnx", "none.onnx")])
        assert [answer.status_code for answer in answers] == [200, 200, 400]
        assert site.client.get("/api/info").json()["model"]["name"] in ("spleen", "blurry")


def test_parallel_images_and_models(site: Site, tmp_path: Path):
    site.load("spleen.onnx")
    site.load_named("a", "spleen.onnx")
    sources = [image((20 + n, 18, 22 - n), seed=n) for n in range(4)]
    sent = [packed(source, site.work) for source in sources]
    fields = [WINDOW, {"model_name": "a"}, {"window_level": "-200", "window_width": "100"}, {"model_name": "a"}]
    answers = at_once(*[lambda s=s, f=f: site.infer(s, **f) for s, f in zip(sent, fields, strict=True)])
    for source, answer, value in zip(sources, answers, (50, 0.5, -200, 0.5), strict=True):
        assert answer.status_code == 200
        np.testing.assert_array_equal(sitk.GetArrayFromImage(unpacked(answer.content, tmp_path)), above(source, value))


def test_unloading_while_it_segments(site: Site, tmp_path: Path):
    source = image((64, 64, 64))
    sent = packed(source, site.work)
    site.load("spleen.onnx", inference_config={"patch_stride": [4, 4, 4]})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(site.infer, sent, **WINDOW)
        while not site.services.device._running and not running.done():
            pass
        assert not running.done()
        assert site.client.delete("/api/model").status_code == 200
        assert site.client.delete("/api/model").status_code == 404
        answer = running.result(120)
    assert answer.status_code == 200
    np.testing.assert_array_equal(sitk.GetArrayFromImage(unpacked(answer.content, tmp_path)), above(source, 50))


def test_force_cpu_is_of_one_request(site: Site, monkeypatch: pytest.MonkeyPatch):
    """A model that says which processor it was asked to use."""
    site.load("spleen.onnx")
    model = site.services.external.current()
    assert model is not None
    assert model.engine is not None
    asked = []
    real = model.engine.label

    def label(*args: Any, force_cpu: bool, **more: Any) -> Any:
        asked.append(force_cpu)
        return real(*args, force_cpu=force_cpu, **more)

    monkeypatch.setattr(model.engine, "label", label)
    for force in ("true", "false", "True", ""):
        assert site.infer(image(), **{**WINDOW, "force_cpu": force}).status_code == 200
    assert asked == [True, False, True, False]


@pytest.fixture
def mmengine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server whose settings list two MMEngine models, one of which crashes."""
    monkeypatch.setenv("PYTHONPATH", str(fake_mmengine.package(tmp_path / "site")))
    good = fake_mmengine.files(tmp_path / "good", inference_config={"patch_size": [8, 8, 8]}, window_width=350)
    bad = fake_mmengine.files(tmp_path / "bad", trouble="crash", window_level=0, window_width=350)
    registered = {
        name: {"config": str(f.config), "checkpoint": str(f.checkpoint), "python": sys.executable}
        for name, f in {"liver": good, "crashes": bad}.items()
    }
    with opened(tmp_path / "server", mmengine=registered) as one:
        yield one, good


def test_mmengine_models_are_loaded_by_their_id_only(mmengine: Any):
    site, files = mmengine
    load = lambda **asked: site.client.post("/api/model", json={"backend_type": "mmengine", **asked})  # noqa: E731
    own = {"model_path": "liver", "config_path": "liver"}
    paths = {"model_path": str(files.checkpoint), "config_path": str(files.config)}
    for asked in (own, {"model_path": "liver"}, {"config_path": "liver"}, paths):
        answer = load(**asked, inference_config={"fp16": False})
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == {
            "name": "liver",
            "backend_type": "mmengine",
            "config_path": asked.get("config_path"),
            "model_path": asked.get("model_path", ""),
            "inference_config": {"fp16": False},
            "loaded": True,
        }
    required = {"error": "Config file required for MMEngine: None"}
    alone = load(model_path=str(files.checkpoint))
    assert (alone.status_code, alone.json()) == (400, required)
    named = {"name": "a", "backend_type": "mmengine", "model_path": str(files.checkpoint)}
    answer = site.client.post("/api/models", json=named)
    assert (answer.status_code, answer.json()) == (500, required)
    evil = files.config.with_name("evil.py")
    evil.write_text("open('ran', 'w')")
    for asked in (
        {"model_path": "liver", "config_path": str(evil)},
        {"model_path": str(files.checkpoint), "config_path": str(evil)},
        {"model_path": str(evil), "config_path": str(evil)},
        {"model_path": "liver", "config_path": "crashes"},
        {"model_path": str(evil), "config_path": "liver"},
    ):
        answer = load(**asked)
        assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert site.client.get("/api/info").json()["model"]["name"] == "liver"
    assert not list(evil.parent.parent.rglob("ran"))


def test_mmengine_segments_and_a_crash_is_one_requests_error(mmengine: Any):
    site, _ = mmengine
    source = image()
    site.client.post("/api/model", json={"backend_type": "MMEngine", "model_path": "liver"})
    site.client.post("/api/models", json={"name": "x", "backend_type": "mmengine", "model_path": "crashes"})
    found = site.labels(source, window_level="50")  # its width is the configuration's
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), above(source, 50))
    assert site.infer(source).json() == {"error": "window_level/window_width required"}
    lpi = site.labels(source, window_level="50", grid="lpi", force_cpu="true")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(lpi)[::-1], above(source, 50))

    crashed = site.infer(source, model_name="x")
    assert crashed.status_code == 500
    assert "ended with signal" in crashed.json()["error"]
    assert site.client.get("/api/info").json()["models"]["x"]["loaded"] is False
    assert "load the model again" in site.infer(source, model_name="x").json()["error"]
    again = {"name": "x", "backend_type": "mmengine", "model_path": "liver"}
    assert site.client.post("/api/models", json=again).status_code == 200
    assert site.client.get("/api/info").json()["models"]["x"]["loaded"] is True
    found = site.labels(source, model_name="x")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), above(source, 0.5))
