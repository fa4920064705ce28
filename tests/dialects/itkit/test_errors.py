"""Every row of the table of errors (docs/protocols/itkit.md, section 3), and that all are JSON with the key `error`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from tests.dialects.itkit.site import Site, above, image, opened
from tests.models.onnx_files import saved, threshold

WINDOW = {"window_level": "50", "window_width": "350"}


def told(answer: Any) -> tuple[int, str]:
    body = answer.json()
    assert list(body) == ["error"]
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, body["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("models", {"backend_type": "onnx", "model_path": "spleen.onnx"}, 400, "Model name is required"),
        ("models", {"name": "a"}, 400, "Backend type is required"),
        ("models", {"name": "a", "backend_type": "onnx"}, 400, "Model file not found: None"),
        ("models", {"name": "a", "backend_type": "onnx", "model_path": "x"}, 400, "Model file not found: x"),
        ("models", {"name": "a", "backend_type": "tf", "model_path": "spleen.onnx"}, 500, "Unknown backend: tf"),
        ("model", {"model_path": "spleen.onnx"}, 400, "Backend type is required"),
        ("model", {"backend_type": "onnx"}, 400, "Model path is required"),
        ("model", {"backend_type": "onnx", "model_path": "x.onnx"}, 400, "Model file not found: x.onnx"),
        ("model", {"backend_type": "MMEngine", "model_path": "x", "config_path": "y"}, 400, "Model file not found: x"),
        ("model", {"backend_type": "tf", "model_path": "spleen.onnx"}, 500, "Unknown backend: tf"),
        ("model", [1, 2], 400, "Backend type is required"),
        ("model", {"backend_type": 3}, 400, "backend_type should be text"),
        ("model", {"backend_type": "onnx", "model_path": ["spleen.onnx"]}, 400, "model_path should be text"),
    ],
)
def test_loading(site: Site, path: str, body: Any, status: int, text: str):
    assert told(site.client.post(f"/api/{path}", json=body)) == (status, text)


def test_bodies_that_are_no_json(site: Site):
    for path, status in (("model", 400), ("models", 500)):
        answer = site.client.post(f"/api/{path}", content=b"backend_type=onnx")
        assert told(answer) == (status, "Content-Type must be application/json")
    headers = {"Content-Type": "application/json"}
    for content in (b"{not json", b"", b"[" * 50_000, b'{"backend_type": "onnx", "inference_config": {"a": NaN}}'):
        answer = site.client.post("/api/model", content=content, headers=headers)
        assert told(answer) == (400, "Backend type is required")
    assert told(site.client.post("/api/model", content=b" " * 100_000, headers=headers))[0] == 400


def test_models_that_cannot_be_used(site: Site):
    saved(threshold(patch=("Z", "Y", "X")), site.models / "dynamic.onnx")
    status, text = told(site.load("dynamic.onnx"))
    assert (status, "dynamic" in text) == (500, True)
    assert told(site.load("broken.onnx"))[0] == 500
    assert told(site.load_named("b", "broken.onnx"))[0] == 500
    for config in ({"patch_stride": [1, 2]}, {"patch_stride": [99, 99, 99]}, [1]):
        assert told(site.load("spleen.onnx", inference_config=config))[0] == 400


@pytest.mark.parametrize("generation", [1, 2])
def test_a_failed_load_leaves_the_model_before_usable(site: Site, generation: int):
    source = image()
    fields = {"model_name": "a"} if generation == 1 else WINDOW
    load = (lambda model: site.load_named("a", model)) if generation == 1 else site.load
    assert load("spleen.onnx").status_code == 200
    before = site.client.get("/api/info").json()
    for model in ("broken.onnx", "none.onnx", "/etc/passwd"):
        assert load(model).status_code in (400, 500)
    assert site.client.get("/api/info").json() == before
    found = sitk.GetArrayFromImage(site.labels(source, **fields))
    np.testing.assert_array_equal(found, above(source, 0.5 if generation == 1 else 50))


def test_inference(bare: Site):
    source = image()
    image_file = {"image": ("a.nii.gz", b"x")}
    assert told(bare.client.post("/api/infer", data=WINDOW)) == (400, "No model loaded")
    assert told(bare.infer(source, **WINDOW)) == (400, "No model loaded")
    assert told(bare.client.post("/api/infer", data={"model_name": "a"})) == (400, "No image file uploaded")
    assert told(bare.client.post("/api/infer", files=image_file, data={"model_name": ""})) == (
        400,
        "Model name is required",
    )
    assert told(bare.infer(source, model_name="spl")) == (404, "Model not loaded: spl")
    bare.load("spleen.onnx")
    assert told(bare.client.post("/api/infer", data=WINDOW)) == (400, "No image file uploaded")
    assert told(bare.client.post("/api/infer")) == (400, "No image file uploaded")
    assert told(bare.infer(source)) == (400, "window_level/window_width required")
    assert told(bare.infer(source, window_level="0")) == (400, "window_level/window_width required")
    assert told(bare.infer(source, window_level="wide", window_width="1"))[0] == 400
    assert told(bare.infer(source, window_level="nan", window_width="1"))[0] == 400
    assert told(bare.infer(source, window_level="1", window_width="0"))[0] == 400
    assert told(bare.infer(source, window_level="1", window_width="-5"))[0] == 400
    assert told(bare.infer(source, grid="ras", **WINDOW))[0] == 400
    assert told(bare.infer(b"this is no image", **WINDOW))[0] == 500
    assert told(bare.infer(b"\x1f\x8bno gzip", **WINDOW))[0] == 500


def test_images_that_cannot_be_segmented(site: Site):
    site.load("spleen.onnx")
    source = sitk.Cast(image(), sitk.sitkFloat32)
    source[3, 4, 5] = float("nan")
    status, text = told(site.infer(source, **WINDOW))
    assert (status, "not finite" in text) == (400, True)
    four = sitk.JoinSeries([image(), image(seed=1)])
    assert told(site.infer(four, **WINDOW))[0] == 500


def test_uploads_that_are_broken_or_too_large(site: Site):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = site.client.post("/api/infer", content=b"--y\r\nnonsense", headers=headers)
    assert told(answer)[0] == 400
    answer = site.client.post("/api/infer", content=b"--x--", headers={"Content-Type": "multipart/form-data"})
    assert told(answer)[0] == 400


def test_unloading(bare: Site):
    assert told(bare.client.delete("/api/model")) == (404, "No model loaded")
    assert told(bare.client.delete("/api/models/spl")) == (404, "Model not found: spl")
    assert told(bare.client.delete("/api/models/a/b c")) == (404, "Model not found: a/b c")


def test_own_models_are_not_unloaded_or_replaced(site: Site):
    status, text = told(site.client.delete("/api/models/bands"))
    assert (status, "own models" in text) == (400, True)
    status, text = told(site.load_named("bands", "spleen.onnx"))
    assert (status, "own models" in text) == (400, True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "model"),
        ("PUT", "models"),
        ("POST", "info"),
        ("DELETE", "health"),
        ("GET", "infer"),
        ("GET", "models/a"),
    ],
)
def test_wrong_methods(site: Site, method: str, path: str):
    answer = site.client.request(method, f"/api/{path}")
    assert told(answer)[0] == 405
    assert answer.headers["allow"]


def test_what_nobody_foresaw_is_told_in_general_terms(site: Site, monkeypatch: pytest.MonkeyPatch):
    def broken() -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(site.services.external, "cards", broken)
    status, text = told(site.client.get("/api/health"))
    assert status == 500
    assert "secret" not in text


@pytest.mark.parametrize(
    "asked",
    [
        "/etc/passwd",
        "/no/such/file",
        "../outside.onnx",
        "sub/../../outside.onnx",
        "link.onnx",
        "linked/outside.onnx",
        "folder.onnx",
        "",
        ".",
        "spleen.onnx\0",
        "file:spleen.onnx",
    ],
)
def test_nothing_outside_the_model_directory_is_opened_or_told_of(site: Site, asked: str):
    """What is there and what isn't gets the same answer."""
    outside = saved(threshold(), site.models.parent / "outside.onnx")
    (site.models / "link.onnx").symlink_to(outside)
    (site.models / "linked").symlink_to(site.models.parent)
    (site.models / "folder.onnx").mkdir()
    for one in (asked, str(outside)):
        expected = f"Model file not found: {one}" if one else "Model path is required"
        assert told(site.load(one)) == (400, expected)


def test_files_are_named_from_inside_or_in_full(site: Site):
    for name in ("sub/windowed.onnx", "./sub//windowed.onnx", str(site.models / "sub" / "windowed.onnx")):
        assert site.load(name).json()["model"]["name"] == "windowed"


def test_without_a_model_directory_no_file_is_opened(tmp_path, monkeypatch: pytest.MonkeyPatch):
    with opened(tmp_path, model_dir=None) as one:
        monkeypatch.chdir(one.models)
        assert told(one.load("spleen.onnx")) == (400, "Model file not found: spleen.onnx")
        assert one.load("bands").status_code == 200
