"""The unmodified logic of ITKIT 4.0.0's plugin against this server, and this server against ITKIT's.

Needs the package index, from which both are fetched; they are kept in pytest's cache.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk

from app.settings import ModelSettings
from tests.clients.itkit_peer import PeerMissing, Slicer, VolumeNode, fetched, peer_server, plugin_logic
from tests.dialects.itkit.site import above, image, packed, slanted, unpacked
from tests.live import serving
from tests.models import fake_mmengine
from tests.models.onnx_files import blurry, saved, threshold


@dataclass(frozen=True)
class Live:
    url: str
    models: Path


@pytest.fixture(scope="module")
def cache(request: pytest.FixtureRequest) -> Path:
    assert request.config.cache is not None
    return request.config.cache.mkdir("itkit")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """With an automatic model of its own, a model directory and an MMEngine model in its settings."""
    folder = tmp_path_factory.mktemp("itkit")
    models = folder / "models"
    models.mkdir()
    saved(threshold(metadata={"window_level": "0", "window_width": "200"}), models / "spleen.onnx")
    saved(blurry(5, (16, 12, 20)), models / "blurry.onnx")
    saved(blurry(3, (9, 14, 7), seed=3, config={"patch_stride": [3, 14, 5]}), models / "strides.onnx")
    saved(blurry(4, (16, 12, 20), seed=5, half=True), models / "half.onnx")
    (models / "broken.onnx").write_bytes(b"this is no model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(fake_mmengine.package(folder / "site")))
        files = fake_mmengine.files(folder / "liver", window_level=0, window_width=200)
        liver = {"config": files.config, "checkpoint": files.checkpoint, "python": sys.executable}
        own = {"bands": ModelSettings(type="fake_automatic")}
        with serving(folder / "w", own, model_dir=models, mmengine={"liver": liver}) as server:
            yield Live(server.url, models)


@pytest.fixture
def slicer() -> Slicer:
    return Slicer()


@pytest.fixture
def logic(cache: Path, slicer: Slicer, monkeypatch: pytest.MonkeyPatch) -> Any:
    try:
        return plugin_logic(fetched(cache), slicer, monkeypatch)
    except PeerMissing as error:
        pytest.skip(str(error))


def segmented(logic: Any, url: str, source: sitk.Image, **more: Any) -> sitk.Image:
    node = logic.run_inference(url, VolumeNode(source), None, **more)
    assert node.name == "CT_Segmentation"
    assert node.reference.image is source
    return node.labels


def test_info_load_infer_unload(logic: Any, live: Live):
    """What the buttons of the plugin do, one after the other."""
    info = logic.get_server_info(live.url)
    assert info["name"] == "Segloop"
    assert info["cuda_available"] is False
    assert info["model"]["loaded"], "the button for inference stays grey without a loaded model"

    assert logic.load_model(live.url, "onnx", None, str(live.models / "spleen.onnx"), {"fp16": False})
    model = logic.get_server_info(live.url)["model"]
    assert (model["name"], model["backend_type"], model["loaded"]) == ("spleen", "onnx", True)
    source = image(direction=slanted((-2, 3, 1), 12))
    labels = segmented(logic, live.url, source)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), above(source, 0))
    np.testing.assert_allclose(labels.GetDirection(), source.GetDirection(), atol=1e-5)
    labels = segmented(logic, live.url, source, force_cpu=True, window_level=50.0, window_width=350.0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), above(source, 50))
    labels = segmented(logic, live.url, source, window_level=0.0, window_width=10.0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), above(source, 0))
    assert logic.unload_model(live.url)


def test_a_base_address_that_ends_in_a_slash(logic: Any, live: Live):
    url = f"{live.url}/"
    assert logic.get_server_info(url)["name"]
    assert logic.load_model(url, "onnx", None, "spleen.onnx", {"fp16": True})
    assert segmented(logic, url, image()).GetSize() == (30, 24, 20)
    assert logic.unload_model(url)


def test_mmengine_by_its_id(logic: Any, live: Live):
    """The plugin insists on both fields; the id goes into either."""
    assert logic.load_model(live.url, "mmengine", "liver", "liver", {"fp16": False})
    assert logic.get_server_info(live.url)["model"]["backend_type"] == "mmengine"
    source = image()
    labels = segmented(logic, live.url, source)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), above(source, 0))
    assert logic.unload_model(live.url)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("/etc/passwd", "Server error 400: Model file not found: /etc/passwd"),
        ("broken.onnx", "Server error 500: this is not an ONNX file"),
    ],
)
def test_a_refusal_reaches_the_person_in_words(logic: Any, live: Live, model: str, told: str):
    logic.load_model(live.url, "onnx", None, "spleen.onnx", {"fp16": False})
    with pytest.raises(RuntimeError, match=told):
        logic.load_model(live.url, "onnx", None, model, {"fp16": False})
    assert logic.get_server_info(live.url)["model"]["name"] == "spleen"


@pytest.fixture(scope="module")
def peer(cache: Path) -> Iterator[str]:
    try:
        with peer_server(cache) as url:
            yield url
    except PeerMissing as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("model", ["blurry", "strides", "half", "spleen"])
def test_labels_are_those_of_itkits_own_server(live: Live, peer: str, model: str, tmp_path: Path):
    """The same file and the same images, on the grid that ITKIT answers on: not a voxel differs."""
    processor = {"accumulate_device": "cpu", "forward_device": "cpu", "fp16": model == "half"}
    asked = {"backend_type": "onnx", "model_path": str(live.models / f"{model}.onnx"), "inference_config": processor}
    for url in (peer, live.url):
        answer = requests.post(f"{url}/api/model", json=asked, timeout=60)
        assert answer.status_code == 200, answer.text
    for number, (size, axes) in enumerate(
        [((30, 24, 20), (1, 2, 3)), ((9, 40, 13), (-3, 1, -2)), ((41, 7, 50), (2, -1, 3))]
    ):
        source = image(size, direction=slanted(axes, 9 * number), seed=number)
        theirs = inferred(peer, source, tmp_path)
        ours = inferred(live.url, source, tmp_path, grid="lpi")
        np.testing.assert_allclose(ours.GetOrigin(), theirs.GetOrigin(), atol=1e-3)
        np.testing.assert_allclose(ours.GetDirection(), theirs.GetDirection(), atol=1e-5)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(theirs))
        assert len(np.unique(sitk.GetArrayFromImage(theirs))) > 1
        own_grid = sitk.DICOMOrient(inferred(live.url, source, tmp_path), "LPI")
        np.testing.assert_array_equal(sitk.GetArrayFromImage(own_grid), sitk.GetArrayFromImage(theirs))


def inferred(url: str, source: sitk.Image, folder: Path, **fields: str) -> sitk.Image:
    files = {"image": ("a.nii.gz", packed(source, folder))}
    data = {"force_cpu": "true", "window_level": "40", "window_width": "1200", **fields}
    answer = requests.post(f"{url}/api/infer", files=files, data=data, timeout=120)
    assert answer.status_code == 200, answer.text
    return unpacked(answer.content, folder)
