"""The dialect in front of a real archive: what OHIF and Slicer do on a series that lives in Orthanc."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.dialects.monailabel.site import MODELS, SHAPE, Site
from tests.dicom.synthetic import ct_series
from tests.orthanc import Orthanc, OrthancMissing

pytestmark = pytest.mark.orthanc


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    try:
        orthanc = Orthanc.start(tmp_path_factory.mktemp("orthanc"), users={"segloop": "pw"})
    except OrthancMissing as error:
        pytest.skip(str(error))
    datasets, truth = ct_series(SHAPE, orientation="oblique", reversed=True)
    orthanc.upload(datasets)
    settings: dict[str, Any] = {
        "studies": orthanc.url,
        "archive": {"username": "segloop", "password": "pw"},
        "models": MODELS,
        "workspace": tmp_path_factory.mktemp("workspace"),
    }
    app = create_app(Settings(device="cpu", **settings))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        app.state.services.sync.run()
        yield Site(client, app.state.services, None, {str(datasets[0].SeriesInstanceUID): truth})  # type: ignore[arg-type]
    orthanc.stop()


def test_the_study_list_filters_and_pages(site: Site):
    found = site.client.get("/proxy/dicom/qido/studies", params={"limit": 10, "includefield": "all"}).json()
    assert len(found) == 1
    assert site.client.get("/proxy/dicom/qido/studies", params={"PatientName": "NOBODY"}).json() == []
    assert site.client.get("/proxy/dicom/qido/studies", params={"offset": 1, "limit": 5}).json() == []


def test_metadata_and_frames(site: Site):
    study = site.services.cases.get(site.series).case.study_uid
    series = f"/proxy/dicom/wado/studies/{study}/series/{site.series}"
    instances = site.client.get(f"{series}/metadata").json()
    assert len(instances) == SHAPE[0]
    sop = instances[0]["00080018"]["Value"][0]
    headers = {"Accept": 'multipart/related; type="application/octet-stream"'}
    frame = site.client.get(f"{series}/instances/{sop}/frames/1", headers=headers)
    assert frame.headers["content-type"].startswith("multipart/related")
    assert len(frame.content) > SHAPE[1] * SHAPE[2] * 2


def test_next_sample_and_click(site: Site):
    sample = site.client.post("/activelearning/first", json={}).json()
    assert sample["id"] == sample["SeriesInstanceUID"] == site.series
    mask = site.mask("clicks", site.series, foreground=[[5, 6, 3]], radius=0)
    assert np.argwhere(mask).tolist() == [[3, 6, 5]]
    assert site.client.get(sample["RetrieveURL"].removeprefix("http://127.0.0.1") + "/metadata").status_code == 200
