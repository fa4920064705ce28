"""The whole loop on real images, in a real Orthanc, through the real MONAI Label client.

Two real CTs (a plastic head as 28 DICOM slices, and an abdomen that is written as a series here) are loaded into an
Orthanc. Then, for both: next sample, download, click, submit; the SEG that Orthanc got by STOW-RS reads back equal.
Then one short training, automatic segmentation by what came of it, scoring, and the next sample.

    make test-fast TEST="tests/clients/test_real_input.py -s"
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
import requests
import SimpleITK as sitk
import yaml
from numpy.typing import NDArray
from pydicom import dcmread
from scipy import ndimage

from app.core.volume import Geometry
from app.dicom.seg_read import read_seg
from tests import orthanc as orthancs
from tests.dicom.from_volume import ct_series_from

client_module = pytest.importorskip("monailabel.client", reason="monailabel==0.8.5 isn't installed")

pytestmark = [
    pytest.mark.orthanc,
    pytest.mark.data,
    pytest.mark.skipif(bool(orthancs.missing()), reason=orthancs.missing()),
]

ASKED = {"result_extension": ".nrrd", "result_dtype": "uint8"}
SETTINGS = {
    "labels": {"structures": ["body", "bone"]},
    "models": {
        "nninteractive": {"type": "nninteractive", "source": "starter"},
        "segmentation": {
            "type": "segmentation",
            "trainer": "segmentation",
            "options": {"steps_per_epoch": 2, "spacing": "6,6,6", "patch": "16,32,32", "features": "8,16,32"},
        },
    },
    "learning": {"train_after": 0, "epochs": 1, "score_seconds": 60},
    "archive": {"sync_seconds": 2},
    "device": "cpu",
}


@dataclass(frozen=True)
class Site:
    """A server over an Orthanc; `series` are the two UIDs."""

    url: str
    orthanc: orthancs.Orthanc
    series: dict[str, str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("real")
    archive = orthancs.Orthanc.start(folder / "orthanc")
    head = sorted((shared_data / "ct_dicom_phantom").glob("*.dcm"))
    abdomen = ct_series_from(shared_data / "ct_abdomen" / "example_ct.nii.gz")
    archive.upload([*head, *abdomen])
    series = {
        "head": str(dcmread(head[0], stop_before_pixels=True).SeriesInstanceUID),
        "abdomen": str(abdomen[0].SeriesInstanceUID),
    }
    config = folder / "segloop.yaml"
    config.write_text(yaml.safe_dump({**SETTINGS, "studies": archive.url, "workspace": str(folder / "workspace")}))
    port = orthancs.free_port()
    command = [sys.executable, "-m", "app.cli", "serve", "--config", str(config), "--port", str(port)]
    server = subprocess.Popen(command)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: total(url) == 2)
        yield Site(url, archive, series)
    finally:
        server.terminate()
        server.wait(timeout=60)
        archive.stop()


def wait_until(condition: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it didn't happen in time"
        time.sleep(0.2)


def total(url: str) -> int:
    try:
        return int(requests.get(f"{url}/datastore/", timeout=10).json()["total"])
    except requests.ConnectionError:
        return -1


@pytest.fixture
def client(site: Site, tmp_path: Path) -> Any:
    return client_module.MONAILabelClient(site.url, tmpdir=str(tmp_path), client_id="anna")


def download(site: Site, sample: dict[str, Any], folder: Path) -> sitk.Image:
    with urlopen(f"{site.url}/datastore/image?image={sample['id']}") as answer:
        content = answer.read()
    assert sample["checksum"] == f"SHA256:{sha256(content).hexdigest()}"
    (folder / sample["name"]).write_bytes(content)
    return sitk.ReadImage(str(folder / sample["name"]))


def middle_of_bone(image: sitk.Image) -> list[int]:
    """A voxel `[i, j, k]` deep inside the largest dense part."""
    voxels = sitk.GetArrayFromImage(image)
    parts, count = ndimage.label(voxels > 200)
    sizes = ndimage.sum_labels(np.ones_like(parts), parts, range(1, count + 1))
    depth = ndimage.distance_transform_edt(parts == int(np.argmax(sizes)) + 1)
    return [int(x) for x in np.unravel_index(np.argmax(depth), depth.shape)][::-1]


def saved(mask: NDArray[np.uint8], like: sitk.Image, file: Path) -> str:
    image = sitk.GetImageFromArray(mask)
    image.CopyInformation(like)
    sitk.WriteImage(image, str(file))
    return str(file)


def stored_seg(site: Site, image_series: str, geometry: Geometry) -> NDArray[Any]:
    """What Orthanc holds as a SEG of a series, read back onto the series' grid."""

    def found() -> list[dict[str, Any]]:
        answer = requests.get(f"{site.orthanc.url}/instances", params={"Modality": "SEG"}, timeout=30)
        return answer.json() if answer.status_code == 200 else []

    for instance in found():
        uid = instance["00080018"]["Value"][0]
        place = requests.post(f"{site.orthanc.rest}/tools/lookup", data=uid, timeout=30).json()[0]["Path"]
        file = requests.get(f"{site.orthanc.rest}{place}/file", timeout=30).content
        seg = dcmread(BytesIO(file))
        if seg.ReferencedSeriesSequence[0].SeriesInstanceUID == image_series:
            return read_seg(file, geometry).labelmap()
    return np.zeros(0)


def test_loop_on_real_images(site: Site, client: Any, shared_data: Path, tmp_path: Path) -> None:
    labelled = []
    for _ in range(2):
        sample = client.next_sample("first", {})
        assert sample["id"] in site.series.values()
        assert sample["id"] not in labelled
        image = download(site, sample, tmp_path)
        at = middle_of_bone(image)
        click = {"label": "bone", "foreground": [at], "background": []}
        file, params = client.infer("nninteractive", sample["id"], {**click, **ASKED})
        clicked = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
        assert clicked.shape == sitk.GetArrayFromImage(image).shape
        assert set(np.unique(clicked)) <= {0, 1}
        i, j, k = at
        assert clicked[k, j, i] == 1
        body = (sitk.GetArrayFromImage(image) > -300).astype(np.uint8)
        mask = np.where(clicked > 0, 2, body).astype(np.uint8)
        label_info = [{"name": "body", "idx": 1}, {"name": "bone", "idx": 2}]
        answer = client.save_label(
            sample["id"], saved(mask, image, tmp_path / "label.nii.gz"), params={"label_info": label_info}
        )
        assert answer["image"] == sample["id"]
        assert client.info()["datastore"]["completed"] == len(labelled) + 1
        geometry = Geometry.from_itk(mask.shape, image.GetSpacing(), image.GetOrigin(), image.GetDirection())
        wait_until(lambda uid=sample["id"], g=geometry: stored_seg(site, uid, g).size > 0)
        np.testing.assert_array_equal(stored_seg(site, sample["id"], geometry), mask)
        labelled.append(sample["id"])
    assert client.next_sample("first", {}) == {}

    task = client.train_start("segmentation", {"max_epochs": 1})
    assert task["status"] in ("SUBMITTED", "RUNNING")
    wait_until(lambda: client.train_status()["status"] not in ("SUBMITTED", "RUNNING"), 300)
    assert client.train_status()["status"] == "DONE", client.train_status()
    assert next(iter(client.info()["train_stats"].values()))["epoch"] == 1

    # A third study arrives: it is segmented on its own, scored, and offered.
    third = ct_series_from(shared_data / "ct_abdomen" / "example_ct_sm.nii.gz")
    site.orthanc.upload(third)
    wait_until(lambda: total(site.url) == 3)
    uid = str(third[0].SeriesInstanceUID)
    wait_until(lambda: requests.get(f"{site.url}/info/", timeout=30).json()["models"]["segmentation"]["version"])
    file, params = client.infer("segmentation", uid, {**ASKED})
    automatic = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    assert automatic.shape == (len(third), third[0].Rows, third[0].Columns)
    assert params["label_names"] == {"body": 1, "bone": 2}
    assert set(np.unique(automatic)) <= {0, 1, 2}
    scored = requests.post(f"{site.url}/scoring/entropy", json={}, params={"run_sync": True}, timeout=300)
    assert scored.status_code == 200, scored.text
    sample = client.next_sample("entropy", {})
    assert sample["id"] == uid
    assert "entropy" in sample["reason"]
