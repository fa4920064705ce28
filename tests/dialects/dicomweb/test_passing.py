"""Over a real DICOMweb archive: addresses that stay here, and segmentations that become labels."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pydicom
import pytest
import requests
from pydicom import Dataset

from tests import orthanc
from tests.dialects.dicomweb.segmentations import painted, segmentation
from tests.dialects.dicomweb.site import SHAPE, Site, encode, parts, path_of, serving
from tests.dicom.synthetic import ct_series

pytestmark = pytest.mark.orthanc


@dataclass(frozen=True)
class Over:
    site: Site
    archive: orthanc.Orthanc
    datasets: list[Dataset]


@pytest.fixture(scope="module")
def over(tmp_path_factory) -> Iterator[Over]:
    if orthanc.missing():
        pytest.skip(orthanc.missing())
    folder = tmp_path_factory.mktemp("over")
    archive = orthanc.Orthanc.start(folder / "orthanc", users={"segloop": "pw"})
    datasets, _ = ct_series(SHAPE, orientation="oblique", reversed=True, patient=1)
    archive.upload(datasets)
    account, structures = {"username": "segloop", "password": "pw"}, {"structures": ["Liver", "Tumour"]}
    with serving(folder, archive.url, archive=account, labels=structures) as site:
        yield Over(site, archive, datasets)
    archive.stop()


def test_addresses_stay_here(over: Over) -> None:
    path = path_of(over.datasets[0], upto="series")
    for answer in (over.site.get("/studies"), over.site.get("/series"), over.site.get(f"{path}/metadata")):
        assert answer.status_code == 200
        assert over.archive.rest not in answer.text
        assert "segloop:pw" not in answer.text
    (study,) = over.site.get("/studies").json()
    assert study["00081190"]["Value"] == [over.site.url + path_of(over.datasets[0], upto="studies")]
    for entry in over.site.get(f"{path}/metadata").json():
        address = entry["7FE00010"]["BulkDataURI"]
        assert address.startswith(f"{over.site.url}/studies/")
        assert requests.get(address, timeout=10).status_code == 200


def test_frames_and_instances_pass_through(over: Over) -> None:
    dataset = over.datasets[0]
    accept = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    ((_, frame),) = parts(over.site.get(f"{path_of(dataset)}/frames/1", accept))
    assert frame == dataset.PixelData
    ((_, file),) = parts(
        over.site.get(path_of(dataset), 'multipart/related; type="application/dicom"; transfer-syntax=*')
    )
    np.testing.assert_array_equal(pydicom.dcmread(io.BytesIO(file)).pixel_array, dataset.pixel_array)


def test_labels_stay_and_the_rest_goes_on(over: Over) -> None:
    others, _ = ct_series((2, 8, 8), patient=50)
    voxels = painted(SHAPE, 2)
    file = segmentation(over.datasets, voxels, ["Liver", "Tumour"], labelmap=True)
    sent = pydicom.dcmread(io.BytesIO(file))
    answer = over.site.store([encode(others[0]), file, encode(others[1])])
    assert answer.status_code == 200
    stored = {item["00081155"]["Value"][0]: item for item in answer.json()["00081199"]["Value"]}
    assert set(stored) == {str(sent.SOPInstanceUID), *(str(dataset.SOPInstanceUID) for dataset in others)}
    assert len(over.site.get(path_of(others[0], upto="series") + "/metadata").json()) == 2
    (label,) = over.site.services.labels.history(str(over.datasets[0].SeriesInstanceUID))
    np.testing.assert_array_equal(over.site.services.labels.mask(label).labelmap(), voxels)
    assert over.site.get(path_of(sent) + "/metadata").status_code == 404
    location = stored[str(sent.SOPInstanceUID)]["00081190"]["Value"][0]
    deadline = time.monotonic() + 30
    while requests.get(f"{location}/metadata", timeout=10).status_code != 200:
        assert time.monotonic() < deadline, "the outbox did not deliver the label"
        time.sleep(0.1)


def test_bodies_without_labels_are_the_archive_s_matter(over: Over) -> None:
    others, _ = ct_series((1, 8, 8), patient=51)
    assert over.site.store([encode(others[0])]).status_code == 200
    refused = over.site.store([encode(others[0])], "/studies/1.2.3")
    assert refused.status_code == 409
    assert refused.json()["00081198"]["Value"][0]["00081197"]["Value"] == [272]
    assert over.site.store([b"nonsense"]).status_code == 400


def test_a_label_is_kept_while_the_archive_is_away(over: Over) -> None:
    others, _ = ct_series((1, 8, 8), patient=52)
    series = str(over.datasets[0].SeriesInstanceUID)
    over.site.services.cases.volume(series)
    count = len(over.site.services.labels.history(series))
    over.archive.stop()
    try:
        file = segmentation(over.datasets, painted(SHAPE, 2, 7), ["Liver", "Tumour"], labelmap=False)
        answer = over.site.store([file, encode(others[0])])
        assert answer.status_code == 202
        assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA700]
        assert len(over.site.services.labels.history(series)) == count + 1
        assert over.site.get("/studies").status_code == 503
    finally:
        over.archive.run()
