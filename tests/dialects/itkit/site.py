"""The real application with a model directory, and images as the plugin sends them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from fastapi.testclient import TestClient

from app.archives.memory import MemoryArchive
from app.main import create_app
from app.services import Services
from app.settings import ModelSettings, Settings
from tests.models.onnx_files import blurry, saved, threshold

PEER_HEADERS = {
    "content-type": "application/octet-stream",
    "content-disposition": "attachment; filename=segmentation.nii.gz",
}


@dataclass(frozen=True)
class Site:
    """`models` is the model directory; `work` a folder for the test's own files."""

    client: TestClient
    services: Services
    models: Path
    work: Path

    def load(self, model: str, **more: Any) -> Any:
        """Load with the singular API."""
        return self.client.post("/api/model", json={"backend_type": "onnx", "model_path": model, **more})

    def load_named(self, name: str, model: str, **more: Any) -> Any:
        """Load with the plural API."""
        asked = {"name": name, "backend_type": "onnx", "model_path": model, **more}
        return self.client.post("/api/models", json=asked)

    def infer(self, image: sitk.Image | bytes, **fields: str) -> Any:
        content = image if isinstance(image, bytes) else packed(image, self.work)
        files = {"image": ("tmpk3x.nii.gz", io.BytesIO(content))}
        return self.client.post("/api/infer", files=files, data={"force_cpu": "false", **fields})

    def labels(self, image: sitk.Image, **fields: str) -> sitk.Image:
        """The answer, read as Slicer reads it."""
        answer = self.infer(image, **fields)
        assert answer.status_code == 200, answer.text
        assert {key: answer.headers[key] for key in PEER_HEADERS} == PEER_HEADERS
        assert "content-encoding" not in answer.headers
        assert int(answer.headers["content-length"]) == len(answer.content)
        return unpacked(answer.content, self.work)


def packed(image: sitk.Image, folder: Path) -> bytes:
    sitk.WriteImage(image, str(folder / "sent.nii.gz"))
    return (folder / "sent.nii.gz").read_bytes()


def unpacked(content: bytes, folder: Path) -> sitk.Image:
    assert gzip.decompress(content)[344:347] == b"n+1"
    (folder / "answer.nii.gz").write_bytes(content)
    labels = sitk.ReadImage(str(folder / "answer.nii.gz"))
    assert labels.GetPixelID() == sitk.sitkUInt8
    return labels


def image(
    size: tuple[int, int, int] = (30, 24, 20),
    spacing: tuple[float, float, float] = (1, 2, 3),
    origin: tuple[float, float, float] = (5, 6, 7),
    direction: np.ndarray | None = None,
    seed: int = 0,
) -> sitk.Image:
    """Noise from -1000 to 1000, int16."""
    values = np.random.default_rng(seed).integers(-1000, 1000, size[::-1], dtype=np.int16)
    made = sitk.GetImageFromArray(values)
    made.SetSpacing(spacing)
    made.SetOrigin(origin)
    made.SetDirection((np.eye(3) if direction is None else direction).ravel().tolist())
    return made


def rotation(seed: int) -> np.ndarray:
    """Any orientation, left-handed ones too."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


def slanted(axis: tuple[int, int, int], degrees: float) -> np.ndarray:
    """Axes in another order and reversed, then turned a little: oblique."""
    turned = np.zeros((3, 3))
    for column, signed in enumerate(axis):
        turned[abs(signed) - 1, column] = np.sign(signed)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ turned


def above(source: sitk.Image, value: float) -> np.ndarray:
    return sitk.GetArrayFromImage(source) > value


@contextmanager
def opened(folder: Path, **settings: Any) -> Iterator[Site]:
    """With `spleen.onnx` (above half of the window), `sub/windowed.onnx` (knows its window: level 0, width 200), and
    `blurry.onnx`; broken.onnx is none. `own` decides whether this server has an automatic model itself."""
    models, work = folder / "models", folder / "work"
    (models / "sub").mkdir(parents=True)
    work.mkdir()
    saved(threshold(0.5), models / "spleen.onnx")
    saved(threshold(0.5, metadata={"window_level": "0", "window_width": "200"}), models / "sub" / "windowed.onnx")
    saved(blurry(), models / "blurry.onnx")
    (models / "broken.onnx").write_bytes(b"this is no model")
    own = settings.pop("own", True)
    values: dict[str, Any] = {
        "models": {"bands": ModelSettings(type="fake_automatic")} if own else {"clicks": ModelSettings(type="fake")},
        "labels": {"structures": ["liver", "spleen"]},
        "model_dir": models,
        "learning": {"train_after": 0},
        **settings,
    }
    app = create_app(Settings(workspace=folder / "workspace", device="cpu", threads=1, **values), MemoryArchive())
    # Outside its lifespan: nothing is loaded from the directory, but for the tests that ask for it.
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    services: Services = app.state.services
    yield Site(client, services, models, work)
    services.stop()
