"""The real application over an archive in memory, with models whose answers anyone can work out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from app.archives.memory import MemoryArchive
from app.core.archive import DicomwebUpstream
from app.core.volume import Geometry, Volume
from app.main import create_app
from app.services import Services
from app.settings import ModelSettings, Settings
from tests.dicom.synthetic import Truth, ct_series

SHAPE = (9, 20, 16)
STRUCTURES = ["liver", "spleen"]
MODELS = {
    "clicks": ModelSettings(type="fake"),
    "bands": ModelSettings(type="fake_automatic"),
    "Histogram+GraphCut": ModelSettings(type="histogram_graphcut"),
    "untrained": ModelSettings(type="segmentation", trainer="segmentation"),
}


@dataclass(frozen=True)
class Site:
    """`truth` has the grid of each case, by its id."""

    client: TestClient
    services: Services
    archive: MemoryArchive
    truth: dict[str, Truth]

    @property
    def series(self) -> str:
        """A series with reversed instance numbers on an oblique grid."""
        return next(iter(self.truth))

    def infer(self, model: str, image: str, params: dict[str, Any], output: str = "image", **more: Any) -> Any:
        query = {"image": image, **({"output": output} if output else {})}
        return self.client.post(f"/infer/{model}", params=query, data={"params": json.dumps(params)}, **more)

    def mask(self, model: str, image: str, **params: Any) -> NDArray[np.uint8]:
        """The voxels `(k, j, i)` of an `output=image` answer, read as OHIF does: the bytes behind the header."""
        answer = self.infer(model, image, {"result_compress": False, **params})
        assert answer.status_code == 200, answer.text
        header, _, voxels = answer.content.partition(b"\n\n")
        sizes = next(line for line in header.decode().splitlines() if line.startswith("sizes: "))
        i, j, k = (int(n) for n in sizes.split()[1:])
        return np.frombuffer(voxels, np.uint8).reshape(k, j, i)


@contextmanager
def opened(folder: Path, dicomweb: DicomwebUpstream | None = None, **settings: Any) -> Iterator[Site]:
    """`dicomweb` is what viewers read from, though the cases are in memory."""
    archive, truth = MemoryArchive(dicomweb=dicomweb), {}
    for orientation, patient in (("oblique", 1), ("sagittal", 2)):
        datasets, true = ct_series(SHAPE, orientation=orientation, reversed=True, patient=patient)
        truth[archive.add_series(datasets).id] = true
    affine = np.diag([0.9, 0.8, 3.0, 1.0])
    voxels = np.random.default_rng(0).integers(-1000, 1000, SHAPE, dtype=np.int16)
    truth["case 07"] = Truth(voxels, Geometry(SHAPE, affine))
    archive.add_volume("case 07", Volume(voxels, truth["case 07"].geometry, "CT"), patient_id="P7")
    values: dict[str, Any] = {"models": MODELS, "labels": {"structures": STRUCTURES}, "learning": {"train_after": 0}}
    app = create_app(Settings(workspace=folder, device="cpu", **{**values, **settings}), archive)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        services: Services = app.state.services
        services.sync.run()
        yield Site(client, services, archive, truth)


def multipart(answer: Any) -> tuple[dict[str, Any], str, bytes]:
    """`(params, file name, file)` of a two-part answer."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    params, file = message_from_bytes(head + answer.content).get_payload()
    assert params.get_filename() is None
    assert params.get_param("name", header="content-disposition") == "params"
    return json.loads(params.get_payload()), file.get_filename(), file.get_payload(decode=True)


def nifti(voxels: NDArray[np.generic], geometry: Geometry, folder: Path, name: str = "label.nii.gz") -> bytes:
    """A labelmap as Slicer saves it."""
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction.ravel().tolist())
    sitk.WriteImage(image, str(folder / name))
    return (folder / name).read_bytes()
