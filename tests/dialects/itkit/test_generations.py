"""What each generation's plugin does in a session (docs/protocols/itkit.md, sections 1 and 2)."""

from __future__ import annotations

import io

import numpy as np
import SimpleITK as sitk

from tests.dialects.itkit.site import Site, above, image, packed


def test_health_and_info_of_a_fresh_server(site: Site):
    assert site.client.get("/api/health").json() == {"status": "ok", "cuda_available": False, "cuda_device_count": 0}
    info = site.client.get("/api/info").json()
    assert info["name"] == site.services.settings.name
    assert info["version"]
    assert (info["cuda_available"], info["device_count"]) == (False, 0)
    own = {
        "name": "bands",
        "backend_type": "segloop",
        "config_path": None,
        "model_path": "bands",
        "inference_config": {},
        "loaded": True,
    }
    assert info["model"] == own
    assert info["models"] == {"bands": own}


def test_a_server_without_models_has_null(bare: Site):
    info = bare.client.get("/api/info").json()
    assert info["model"] is None
    assert info["models"] == {}


def test_g2_loads_segments_and_unloads(site: Site):
    answer = site.load("spleen.onnx", inference_config={"fp16": False})
    assert answer.status_code == 200
    told = {
        "name": "spleen",
        "backend_type": "onnx",
        "config_path": None,
        "model_path": "spleen.onnx",
        "inference_config": {"fp16": False},
        "loaded": True,
    }
    assert answer.json() == {"status": "success", "model": told}
    info = site.client.get("/api/info").json()
    assert info["model"] == told
    assert info["models"]["spleen"] == told

    source = image()
    found = site.labels(source, window_level="50.0", window_width="350.0")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), above(source, 50))
    assert found.GetSize() == source.GetSize()
    np.testing.assert_allclose(found.GetOrigin(), source.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(found.GetDirection(), source.GetDirection(), atol=1e-6)

    assert site.client.delete("/api/model").json() == {"status": "success"}
    assert site.client.get("/api/info").json()["model"]["name"] == "bands"
    gone = site.client.delete("/api/model")
    assert (gone.status_code, gone.json()) == (404, {"error": "No model loaded"})


def test_g2_takes_the_lpi_grid_when_asked(site: Site):
    """As the peer answers: third axis flipped, origin (5, 6, 64) (docs/protocols/itkit.md, section 2.5)."""
    site.load("spleen.onnx")
    source = image()
    found = site.labels(source, window_level="50", window_width="350", grid="lpi")
    np.testing.assert_allclose(found.GetOrigin(), (5, 6, 64), atol=1e-4)
    np.testing.assert_allclose(found.GetDirection(), np.diag([1, 1, -1]).ravel(), atol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found)[::-1], above(source, 50))
    own = site.client.post(
        "/api/infer",
        files={"image": ("a.nii.gz", packed(source, site.work))},
        data={"model_name": "bands", "grid": "lpi"},
    )
    assert own.status_code == 200  # the plural API knows no grid, and gives the image's own


def test_g2_finds_the_window_in_the_form_then_in_the_file(site: Site):
    source = image()
    site.load("sub/windowed.onnx")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(site.labels(source)), above(source, 0))
    found = site.labels(source, window_level="300")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), above(source, 300))
    empty = site.labels(source, window_level="", window_width="")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(empty), above(source, 0))
    site.load("spleen.onnx")
    zero = site.labels(source, window_level="0", window_width="100")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(zero), above(source, 0))


def test_g1_keeps_many_models_and_takes_values_as_they_are(site: Site):
    config = {"patch_size": [64, 64, 64], "patch_stride": [8, 8, 8], "fp16": False}
    answer = site.load_named("spl", "spleen.onnx", inference_config=config)
    assert answer.json()["status"] == "success"
    assert answer.json()["model"]["name"] == "spl"
    assert answer.json()["model"]["inference_config"] == config
    site.load_named("other one", str(site.models / "sub" / "windowed.onnx"))
    info = site.client.get("/api/info").json()
    assert list(info["models"]) == ["bands", "spl", "other one"]
    assert info["model"]["name"] == "spl"

    source = image()
    source = sitk.Cast(source, sitk.sitkFloat32) / 500
    found = site.labels(source, model_name="spl", force_cpu="true")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), above(source, 0.5))
    # No windowing in this generation, though the file knows one.
    other = site.labels(source, model_name="other one")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(other), above(source, 0.5))

    gone = site.client.delete("/api/models/other one")
    assert gone.json() == {"status": "success", "message": "Model other one unloaded"}
    assert site.client.delete("/api/models/spl").status_code == 200
    assert list(site.client.get("/api/info").json()["models"]) == ["bands"]


def test_own_models_segment_for_both_generations(site: Site):
    """Cut into three equal bands by the fake; the plugin's window means nothing to it."""
    source = image()
    values = sitk.GetArrayFromImage(source).astype(float)
    unit = (values - values.min()) / (values.max() - values.min())
    bands = np.minimum(np.floor(unit * 3), 2).astype(np.uint8)
    for fields in ({}, {"window_level": "50", "window_width": "10"}, {"model_name": "bands"}):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(site.labels(source, **fields)), bands)
    lpi = site.labels(source, grid="lpi")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(lpi)[::-1], bands)
    np.testing.assert_allclose(lpi.GetOrigin(), (5, 6, 64), atol=1e-4)


def test_own_models_can_be_chosen_by_their_id(site: Site):
    site.load("spleen.onnx")
    answer = site.load("bands", config_path=None)
    assert answer.json()["model"]["backend_type"] == "segloop"
    assert site.client.get("/api/info").json()["model"]["name"] == "bands"
    assert site.client.delete("/api/model").status_code == 200


def test_an_uncompressed_file_and_a_base_address_with_a_slash(site: Site):
    site.load("spleen.onnx")
    source = image()
    sitk.WriteImage(source, str(site.work / "a.nii"))
    files = {"image": ("a.nii", io.BytesIO((site.work / "a.nii").read_bytes()))}
    fields = {"window_level": "50", "window_width": "350"}
    answer = site.client.post("http://127.0.0.1//api/infer", files=files, data=fields)
    assert answer.status_code == 200
    assert site.client.get("http://127.0.0.1//api/info").status_code == 200


def test_nothing_is_left_of_an_upload(site: Site):
    site.load("spleen.onnx")
    site.labels(image(), window_level="50", window_width="350")
    site.infer(b"this is no image", window_level="50", window_width="350")
    assert list(site.services.project.paths.incoming.iterdir()) == []
