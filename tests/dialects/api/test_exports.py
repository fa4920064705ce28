"""Exports over the API: started, watched, downloaded."""

from __future__ import annotations

import io
import json
import time
import zipfile
from typing import Any

import numpy as np

from app.core.label import Submission
from app.core.mask import Mask
from tests.dialects.api.calls import API, get, post
from tests.dialects.monailabel.site import SHAPE, Site


def label(site: Site, case_id: str, value: int = 1) -> None:
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[2:5, 3:9, 4:8] = value
    mask = Mask.single(voxels, ["liver", "spleen"], site.truth[case_id].geometry)
    site.services.labels.submit_mask(case_id, mask, Submission("ana", "test"))


def ended(site: Site, body: dict[str, Any]) -> Any:
    state = post(site, "/exports", body, 202)
    for _ in range(600):
        if state["state"] != "running":
            return state
        time.sleep(0.05)
        state = get(site, f"/exports/{state['id']}")
    raise AssertionError("the export doesn't end")


def test_an_export_is_an_archive(fresh: Site) -> None:
    for case_id in fresh.truth:
        label(fresh, case_id)
    state = ended(fresh, {"format": "seg"})
    assert (state["state"], state["cases"], state["progress"]) == ("done", 2, 1.0)
    assert "volume file" in state["left_out"]["case 07"]
    answer = fresh.client.get(f"{API}/exports/{state['id']}/file")
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    manifest = json.loads(archive.read("manifest.json"))
    stored = fresh.services.labels.newest(fresh.series, "final")
    assert manifest["files"][f"labels/{fresh.series}.dcm"] == stored.sha256
    assert set(archive.namelist()) == {*manifest["files"], "manifest.json"}
    again = ended(fresh, {"format": "seg"})
    assert again["id"] == state["id"]
    assert fresh.client.get(f"{API}/exports/{state['id']}/file").content == answer.content, "the same bytes"


def test_another_export_replaces_it(fresh: Site) -> None:
    label(fresh, fresh.series)
    first, second = ended(fresh, {"format": "csv"}), ended(fresh, {"format": "csv", "structures": ["liver"]})
    assert first["id"] != second["id"]
    get(fresh, f"/exports/{first['id']}", 404)
    kept = {path.name for path in (fresh.services.project.paths.cache / "exports").iterdir()}
    assert kept == {second["id"], f"{second['id']}.zip"}


def test_what_cannot_be_exported_says_so(fresh: Site) -> None:
    post(fresh, "/exports", {"format": "jpeg"}, 422)
    get(fresh, "/exports/nonsense", 404)
    state = ended(fresh, {"format": "nifti"})
    assert (state["state"], state["message"]) == ("failed", "no case has a label tagged 'final'")
    assert fresh.client.get(f"{API}/exports/{state['id']}/file").status_code == 409
