"""The stock clients of MONAI Label, unmodified, against a server on a real socket (docs/protocols/monailabel.md).

Needs `pip install --no-deps monailabel==0.8.5`, which `make test` does; its plugin for 3D Slicer comes with it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote_plus
from urllib.request import urlopen

import numpy as np
import pytest
import requests
import SimpleITK as sitk

from app.core.label import Submission
from app.core.mask import Mask
from app.core.volume import Geometry
from app.main import create_app
from app.services import Services
from app.settings import Settings
from tests.dialects.monailabel.site import MODELS, SHAPE, STRUCTURES
from tests.dicom.synthetic import ct_series, write_series
from tests.live import listening

if importlib.util.find_spec("monailabel") is None:
    pytest.skip("the package monailabel (0.8.5, without its dependencies) isn't installed", allow_module_level=True)


def plugin(*path: str) -> ModuleType | None:
    """A module of the Slicer plugins that the package installs beside itself."""
    spec = importlib.util.find_spec("monailabel")
    assert spec is not None
    assert spec.origin is not None
    for parent in Path(spec.origin).parents:
        file = parent.joinpath("monailabel", "plugins", "slicer", *path)
        if file.exists():
            found = importlib.util.spec_from_file_location(file.stem, file)
            assert found is not None
            assert found.loader is not None
            module = importlib.util.module_from_spec(found)
            found.loader.exec_module(module)
            return module
    return None


@dataclass(frozen=True)
class Live:
    url: str
    services: Services
    geometry: Geometry
    series: str


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> Iterator[Live]:
    """Two DICOM series, reversed, oblique or sagittal, and a volume file, in a folder: job processes read it too."""
    folder = tmp_path_factory.mktemp("live")
    truths = {}
    for orientation, patient in (("oblique", 1), ("sagittal", 2)):
        datasets, truth = ct_series(SHAPE, orientation=orientation, reversed=True, patient=patient)
        write_series(datasets, folder / "studies" / orientation)
        truths[str(datasets[0].SeriesInstanceUID)] = truth
    volume = sitk.GetImageFromArray(np.random.default_rng(0).integers(-1000, 1000, SHAPE, dtype=np.int16))
    sitk.WriteImage(volume, str(folder / "studies" / "case 07.nii.gz"))
    values: dict[str, Any] = {"models": MODELS, "labels": {"structures": STRUCTURES}, "learning": {"train_after": 0}}
    app = create_app(Settings(studies=str(folder / "studies"), workspace=folder / "workspace", device="cpu", **values))
    series = next(iter(truths))
    with listening(app) as port:
        app.state.services.sync.run()
        yield Live(f"http://127.0.0.1:{port}", app.state.services, truths[series].geometry, series)


@pytest.fixture(params=["python", "slicer"])
def client(request, live: Live, tmp_path) -> Any:
    """The Python client, and the one that runs inside 3D Slicer."""
    if request.param == "python":
        module: ModuleType | None = importlib.import_module("monailabel.client")
    else:
        module = plugin("MONAILabel", "MONAILabelLib", "client.py")
    if module is None:
        pytest.skip("the Slicer plugin was not installed with monailabel")
    return module.MONAILabelClient(live.url, tmpdir=str(tmp_path), client_id=f"anna@{request.param}")


ASKED = {"result_extension": ".nrrd", "result_dtype": "uint8"}


def read(file: str | Path) -> sitk.Image:
    return sitk.ReadImage(str(file))


def voxels(file: str | Path) -> np.ndarray:
    return sitk.GetArrayFromImage(read(file))


def saved(array: np.ndarray, like: sitk.Image, file: Path) -> str:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(like)
    sitk.WriteImage(image, str(file))
    return str(file)


def download(live: Live, sample: dict[str, Any], folder: Path) -> sitk.Image:
    """As Slicer downloads a sample: urllib, the sample's name, its checksum."""
    with urlopen(f"{live.url}/datastore/image?image={quote_plus(sample['id'])}") as answer:
        content = answer.read()
        assert int(answer.headers["content-length"]) == len(content)
    algorithm, digest = sample["checksum"].split(":")
    assert (algorithm, digest) == ("SHA256", sha256(content).hexdigest())
    (folder / sample["name"]).write_bytes(content)
    return read(folder / sample["name"])


def test_an_annotators_hour(client: Any, live: Live, tmp_path):
    assert client.auth_enabled() is False
    info = client.info()
    assert info["models"]["clicks"]["type"] == "deepgrow"
    assert not client.train_status(check_if_running=True)

    sample = client.next_sample("first", {})
    image = download(live, sample, tmp_path)
    assert image.GetSize() == SHAPE[::-1]

    points = {"label": "liver", "foreground": [[5, 6, 3]], "background": []}
    file, params = client.infer("clicks", sample["id"], {**points, **ASKED})
    assert file.endswith(".nrrd")
    assert params["label_names"] == {"liver": 1}
    one = voxels(file)
    assert (one.sum(), one[3, 6, 5]) == (125, 1)
    np.testing.assert_allclose(read(file).GetDirection(), image.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(read(file).GetOrigin(), image.GetOrigin(), atol=1e-3)

    points["foreground"].append([12, 10, 7])
    file, _ = client.infer("clicks", sample["id"], {**points, **ASKED})
    assert (voxels(file).sum(), voxels(file)[7, 10, 12]) == (125 + 100, 1)  # the second reaches the last slice
    file, _ = client.infer("clicks", sample["id"], {"label": "liver", "foreground": [], "background": [], **ASKED})
    assert voxels(file).sum() == 0
    file, _ = client.infer("clicks", sample["id"], {"label": "spleen", "roi": [9, 4, 2, 7, 6, 3], **ASKED})
    assert voxels(file).sum() == 6 * 6 * 4

    file, params = client.infer("bands", sample["id"], dict(ASKED))
    assert params["label_names"] == {"liver": 1, "spleen": 2}
    automatic = voxels(file)
    assert set(np.unique(automatic)) == {0, 1, 2}

    # `background` first in the scene: idx is one too high, positions are right.
    label = saved(automatic, image, tmp_path / "label.nii.gz")
    entries = [{"name": "liver", "idx": 2}, {"name": "spleen", "idx": 3}]
    assert client.save_label(sample["id"], label, params={"label_info": entries})["image"] == sample["id"]
    assert client.info()["datastore"]["completed"] >= 1
    got = client.download_label(sample["id"], "final")
    assert got.endswith(".nii.gz")
    np.testing.assert_array_equal(voxels(got), automatic)
    stored = live.services.labels.newest(sample["id"], "final")
    assert [segment.name for segment in stored.segments] == ["liver", "spleen"]
    noted = client.datastore()["objects"][sample["id"]]["labels"]["final"]["info"]
    assert noted["params"]["label_names"] == {"liver": 1, "spleen": 2}
    assert client.next_sample("first", {}).get("id") != sample["id"]


def test_scribbles(client: Any, live: Live, tmp_path):
    image = download(live, {"id": "case 07", "name": "a.nii", "checksum": checksum(live, "case 07")}, tmp_path)
    painted = np.zeros(SHAPE, np.uint8)
    painted[4, 9:12, 7:9], painted[4, 1:18, 1] = 2, 1
    params = {
        "label_info": [{"name": "background_scribbles", "id": 1}, {"name": "foreground_scribbles", "id": 2}],
        "selected_label_name": "liver",
        "roi": [],
        **ASKED,
    }
    strokes = saved(painted, image, tmp_path / "scribbles.nii.gz")
    file, _ = client.infer("Histogram+GraphCut", "case 07", params, label_in=strokes)
    mask = voxels(file)
    assert mask[painted == 2].all()
    assert not mask[painted == 1].any()


def checksum(live: Live, case_id: str) -> str:
    return f"SHA256:{live.services.cases.image_file(case_id).sha256}"


def test_a_volume_of_ones_own(client: Any, live: Live, tmp_path):
    """Sessions for clicks, and an upload for saving (docs/protocols/monailabel.md, sections 6, 8.5)."""
    own = sitk.GetImageFromArray(np.random.default_rng(1).integers(0, 99, (5, 8, 7), dtype=np.int16))
    sitk.WriteImage(own, str(tmp_path / "own.nii.gz"))
    session_id = client.create_session(str(tmp_path / "own.nii.gz"))["session_id"]
    assert client.get_session(session_id)
    file, _ = client.infer("clicks", "Volume", {"foreground": [[1, 1, 1]], **ASKED}, session_id=session_id)
    assert voxels(file).shape == (5, 8, 7)
    assert client.remove_session(session_id)
    assert client.get_session(session_id) is None
    name = f"Größe {client._client_id}"
    assert client.upload_image(str(tmp_path / "own.nii.gz"), name)["image"] == name
    file, _ = client.infer("bands", name, dict(ASKED))
    assert client.save_label(name, file, tag="original", params={"label_info": [{"name": "liver"}, {"name": "spleen"}]})
    assert Path(client.download_label(name, "original")).exists()


def refused(call: Callable[[], object]) -> str:
    """What the client shows when a call fails."""
    try:
        call()
    except Exception as error:
        return str(error.msg)  # type: ignore[attr-defined]  # each client has its own class for this
    raise AssertionError("the call went through")


def test_an_error_reaches_the_annotator_in_words(client: Any):
    told = refused(lambda: client.infer("clicks", "no such image", {"foreground": [[1, 1, 1]], **ASKED}))
    assert "Status: 404" in told
    assert "no such image" in told


def test_one_client_object_may_live_long(client: Any, live: Live):
    """With a token it claims the body of its last POST in later GETs (docs/protocols/monailabel.md, section 1.6)."""
    client._headers = {"X-Nothing": "x"}
    client.infer("clicks", live.series, {"foreground": [[1, 1, 1]], **ASKED})
    assert int(client._headers["content-length"]) > 0
    assert client.info()["name"]
    assert client.train_stop() is None


@pytest.mark.parametrize("client", ["python"], indirect=True)
def test_training(client: Any, live: Live):
    """Start, watch, stop. The job is a real process that trains on labels of all three cases."""
    for case_id in client.datastore()["objects"]:
        geometry = live.services.cases.volume(case_id).geometry
        if geometry.shape == SHAPE:
            labelmap = np.zeros(SHAPE, np.uint8)
            labelmap[2:6, 5:12, 4:10], labelmap[6:8, 1:4, 1:4] = 1, 2
            mask = Mask.single(labelmap, STRUCTURES, geometry)
            live.services.labels.submit_mask(case_id, mask, Submission("anna", "test"))
    task = client.train_start("untrained", {"max_epochs": 500, "steps_per_epoch": 2})
    assert task["status"] in ("SUBMITTED", "RUNNING")
    assert task["id"]
    assert task["start_ts"]
    assert "Status: 429" in refused(lambda: client.train_start("untrained", {}))
    assert client.train_status()["id"] == task["id"]
    assert client.train_status(check_if_running=True) is True
    assert wait_until(lambda: client.info()["train_stats"]["untrained"].get("epoch", 0) >= 1)
    assert client.info()["train_stats"]["untrained"]["total_epochs"] == 500
    assert client.train_status()["status"] == "RUNNING"
    stopped = client.train_stop()
    assert stopped["details"][-1]
    assert wait_until(lambda: client.train_status()["status"] != "RUNNING")
    assert client.train_status()["status"] == "STOPPED"
    assert client.train_status(check_if_running=True) is False


def wait_until(condition: Callable[[], bool], seconds: float = 90) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.2)
    return condition()


def test_the_reviewer(live: Live, tmp_path):
    module = plugin("MONAILabelReviewer", "MONAILabelReviewerLib", "MonaiServerREST.py")
    if module is None:
        pytest.skip("the Slicer plugin was not installed with monailabel")
    reviewer = module.MonaiServerREST(live.url)
    assert reviewer.checkServerConnection()
    content = requests.get(reviewer.getDicomDownloadUri(live.series), timeout=5).content
    (tmp_path / "image.nii").write_bytes(content)
    label = saved(np.ones(SHAPE, np.uint8), read(tmp_path / "image.nii"), tmp_path / "label.nrrd")
    review = {"segmentationMeta": {"status": "approved", "comment": ""}, "label_info": [{"name": "liver", "idx": 1}]}
    reviewer.saveLabel(live.series, label, "version_1", review)
    assert reviewer.requestSegmentation(live.series, "version_1").content
    assert reviewer.updateLabelInfo(live.series, "version_1", {"segmentationMeta": {"status": "flagged"}}) == 200
    told = reviewer.requestDataStoreInfo()["objects"][live.series]
    assert told["image"]["info"]["name"]
    info = told["labels"]["version_1"]["info"]
    assert info["segmentationMeta"]["status"] == "flagged"
    assert json.dumps(info["label_info"])
