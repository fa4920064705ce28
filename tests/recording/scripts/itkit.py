"""ITKIT's two generations: one model without a name, or many by name."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np

from app.core.volume import Geometry
from tests.recording.client import Answer, Form, Json, Site
from tests.recording.studies import nifti

FP16 = {"fp16": False}


def play(site: Site) -> None:
    image = _image()
    for path in ("/api/health", "/api/info"):
        site.get(path)
    _one_model(site, image)
    _named_models(site, image)
    _bad_loads(site)
    _bad_images(site, image)
    for method, path in (
        ("PUT", "/api/model"),
        ("GET", "/api/infer"),
        ("GET", "/api/nothing"),
        ("DELETE", "/api/models/"),
    ):
        site.call(method, path)
    site.get("/api/info")


def _one_model(site: Site, image: bytes) -> None:
    _infer(site, image)
    for model in ("spleen.onnx", "sub/windowed.onnx"):
        _load(site, model)
        site.get("/api/info")
        _infer(site, image)
        for more in ({"window_level": "40", "window_width": "400"}, {"window_level": "0"}, {"window_width": "0"}):
            _infer(site, image, **more)
        for grid in ("input", "lpi", "other"):
            _infer(site, image, window_level="40", window_width="400", grid=grid)
        _infer(site, image, window_level="40", window_width="400", force_cpu="true")
    _load(site, "spleen.onnx", inference_config={"patch_size": [4, 6, 5], "patch_stride": [2, 3, 5], **FP16})
    _infer(site, image, window_level="10", window_width="100")
    _load(site, "bands")
    _infer(site, image)
    for _ in range(6):
        site.delete("/api/model")
    site.get("/api/info")


def _named_models(site: Site, image: bytes) -> None:
    for name, model in (
        ("mine", "spleen.onnx"),
        ("other/one", "sub/windowed.onnx"),
        ("mine", "spleen.onnx"),
        ("bands", "bands"),
    ):
        asked = {"name": name, "backend_type": "onnx", "model_path": model, "inference_config": FP16}
        site.post("/api/models", Json(asked))
    site.get("/api/info")
    for name in ("mine", "other/one", "bands", "nobody", ""):
        _infer(site, image, model_name=name)
    site.post("/api/infer", Form({"model_name": "mine"}))
    for name in ("mine", "mine", "other/one", "bands"):
        site.delete(f"/api/models/{name}")


def _bad_loads(site: Site) -> None:
    asked = {"name": "x", "backend_type": "onnx", "model_path": "spleen.onnx"}
    bad: tuple[dict[str, Any], ...] = (
        {"name": "", "backend_type": "", "model_path": ""},
        {"backend_type": "onnx"},
        {**asked, "model_path": "nothing.onnx"},
        {**asked, "model_path": "../spleen.onnx"},
        {**asked, "model_path": "/etc/passwd"},
        {**asked, "model_path": "broken.onnx"},
        {**asked, "model_path": 7},
        {**asked, "backend_type": "torch"},
        {**asked, "backend_type": "mmengine"},
        {"name": "x", "backend_type": "mmengine", "config_path": "liver.py"},
        {**asked, "name": "untrained"},
        {**asked, "inference_config": "small"},
        {**asked, "inference_config": {"patch_size": [0, 1, 2]}},
        {**asked, "inference_config": {"patch_size": "all"}},
        {**asked, "inference_config": {"patch_stride": [99, 99, 99]}},
    )
    for path in ("/api/model", "/api/models"):
        for body in bad:
            site.post(path, Json(body))
        for content, kind in (
            (b"{", "application/json"),
            (b"{}", "text/plain"),
            (b"[]", "application/json"),
            (b"", ""),
        ):
            site.post(path, content, Content_Type=kind)
    site.get("/api/info")


def _bad_images(site: Site, image: bytes) -> None:
    _load(site, "spleen.onnx")
    site.post("/api/infer", Form({"force_cpu": "false"}))
    site.post("/api/infer", b"x", Content_Type="text/plain")
    unpacked = gzip.decompress(image)
    for content in (b"", b"nothing", image[:-9], unpacked, unpacked[:400], gzip.compress(unpacked[:-9], mtime=0)):
        _infer(site, content, window_level="40", window_width="400")
    holes = np.full((4, 5, 6), np.nan, np.float32)
    _infer(site, nifti(holes, Geometry((4, 5, 6), np.eye(4))), window_level="40", window_width="400")
    for number in ("wide", "nan", "-1"):
        _infer(site, image, window_level="40", window_width=number)
    site.delete("/api/model")


def _load(site: Site, model: str, **more: Any) -> Answer:
    asked = {"backend_type": "onnx", "model_path": model, "inference_config": FP16, **more}
    return site.post("/api/model", Json(asked))


def _infer(site: Site, image: bytes, **fields: str) -> Answer:
    return site.post("/api/infer", Form({"force_cpu": "false", **fields}, {"image": ("tmpk3x.nii.gz", image)}))


def _image() -> bytes:
    """Axes in another order, reversed and tilted; noise from -1000 to 1000."""
    shape = (10, 12, 9)
    affine = np.array([[0, -0.8, 0.3, 5], [-1.1, 0, 0, 6], [0, 0.1, 2.5, 7], [0, 0, 0, 1]], float)
    voxels = np.random.default_rng(7).integers(-1000, 1000, shape, dtype=np.int16)
    return nifti(voxels, Geometry(shape, affine))
