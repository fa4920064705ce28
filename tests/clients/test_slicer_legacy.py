"""What SlicerNNInteractive 0.3.2 does over HTTP, step by step (docs/protocols/slicer-legacy.md).

A stand-in for the extension, which needs 3D Slicer, with all its ways; against segloop on a real socket, with
nnInteractive behind it.
"""

from __future__ import annotations

import gzip
import io
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from nnInteractive.inference.inference_session import nnInteractiveInferenceSession
from numpy.typing import NDArray

from app.models.nninteractive.model import NnInteractive
from app.settings import ModelSettings
from tests.clients.nninteractive_script import SHAPE, drawn, image
from tests.live import Live, serving
from tests.models.folders import tiny_nninteractive

VOXELS = image()[0].clip(-2000, 2000).astype(np.int16)


class StreamedForm:
    """A multipart body that is made while it is read, as `requests_toolbelt` makes it. `requests` asks for its length
    and for pieces."""

    def __init__(self, file: tuple[str, bytes], fields: dict[str, str]) -> None:
        self.boundary = secrets.token_hex(16)
        name, content = file
        head = f'--{self.boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        parts = [head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", content, b"\r\n"]
        for key, value in fields.items():
            parts.append(f'--{self.boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n'.encode())
            parts += [value.encode(), b"\r\n"]
        self._parts = [*parts, f"--{self.boundary}--\r\n".encode()]
        self._length = sum(len(part) for part in self._parts)
        self._stream = io.BytesIO(b"".join(self._parts))

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self.boundary}"

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(min(size, 16384) if size > 0 else size)


@dataclass
class Extension:
    """The extension's side: the volume on the screen, the selected segment, and what of both the server has."""

    server: str
    volume: NDArray[Any]
    segment: NDArray[np.uint8]
    uploaded: NDArray[Any] | None = None
    segment_uploaded: bool = False
    shown: list[str] = field(default_factory=list)
    uploads: int = 0
    depth: int = 0

    def test_connection(self) -> bool:
        return requests.get(self.server, timeout=10).status_code > 0

    def point(self, xyz: tuple[int, int, int], positive: bool) -> None:
        self._prompt("point", json={"voxel_coord": list(xyz[::-1]), "positive_click": positive})

    def box(self, one: tuple[int, int, int], two: tuple[int, int, int], positive: bool) -> None:
        corners = {"outer_point_one": list(one[::-1]), "outer_point_two": list(two[::-1])}
        self._prompt("bbox", json={**corners, "positive_click": positive})

    def stroke(self, kind: str, mask: NDArray[Any], positive: bool) -> None:
        form = StreamedForm(("volume.npy.gz", gzip.compress(npy(mask))), {"positive_click": str(positive)})
        headers = {"Content-Type": form.content_type, "Content-Encoding": "gzip"}
        # Another attempt needs its body again, which the extension's encoder doesn't give; nor does this one.
        self._prompt(kind, data=form, headers=headers)

    def _prompt(self, kind: str, **body: Any) -> None:
        self._synchronise()
        answer = self._request(f"/add_{kind}_interaction", **body)
        if answer is not None:
            bits = np.unpackbits(np.frombuffer(answer.content, np.uint8))
            self.segment = bits[: self.volume.size].reshape(self.volume.shape)

    def _synchronise(self) -> None:
        if self.uploaded is None or not np.array_equal(self.uploaded, self.volume):
            self._upload_image()
        if not self.segment_uploaded:
            self._upload_segment()

    def _upload_image(self) -> None:
        self.uploads += 1
        form = StreamedForm(("volume.npy", npy(self.volume)), {})
        self._request("/upload_image", data=form, headers={"Content-Type": form.content_type})
        self.uploaded = self.volume.copy()

    def _upload_segment(self) -> None:
        files = {"file": ("volume.npy.gz", gzip.compress(npy(self.segment)), "application/octet-stream")}
        self._request("/upload_segment", files=files, headers={"Content-Encoding": "gzip"})
        self.segment_uploaded = True

    def _request(self, path: str, **body: Any) -> requests.Response | None:
        """Post; on "No image uploaded" send everything and ask again, with no limit but this test's."""
        answer = requests.post(self.server + path, **body)  # the extension sets no time-out
        if answer.status_code != 200:
            self.shown.append(str(answer.status_code))
            return None
        if answer.headers["Content-Type"] == "application/json" and answer.json()["status"] == "error":
            message = answer.json()["message"]
            if "No image uploaded" not in message:
                self.shown.append(message)
                return None
            self.depth += 1
            assert self.depth < 5, "the extension would ask for ever"
            self._upload_image()
            self._upload_segment()
            return self._request(path, **body)
        return answer


def npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def extension(live: Live, name: str, volume: NDArray[Any] = VOXELS) -> Extension:
    return Extension(f"{live.url}/u/{name}", volume, np.zeros(volume.shape, np.uint8))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return tiny_nninteractive(tmp_path_factory.mktemp("model") / "tiny", seed=1, patch=80, background=4.0)


@pytest.fixture(scope="module", autouse=True)
def _as_the_library_computes() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr("app.models.device.choose", lambda choice, device: "fp32")
    patch.setattr("nnInteractive.utils.bboxes.np.random.choice", lambda count: 0)
    # The extension knows no options, and a random network is never done zooming.
    real = NnInteractive.open
    patch.setattr(NnInteractive, "open", lambda self, volume, options: real(self, volume, {"autozoom": False}))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def live(weights, tmp_path_factory) -> Iterator[Live]:
    with serving(tmp_path_factory.mktemp("live") / "workspace", model(weights)) as one:
        yield one


def model(weights: Path) -> dict[str, ModelSettings]:
    return {"nninteractive": ModelSettings(type="nninteractive", source=str(weights))}


@dataclass
class Library:
    """The bare library, told the same."""

    weights: Path
    mask: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(SHAPE, np.uint8))

    def __post_init__(self) -> None:
        threads = torch.get_num_threads()
        session = nnInteractiveInferenceSession(device=torch.device("cpu"), torch_n_threads=threads, do_autozoom=False)
        session.initialize_from_trained_model_folder(str(self.weights))
        session.set_image(VOXELS[None])
        session.set_target_buffer(self.mask)
        self.session = session


def test_an_annotators_way_voxel_for_voxel(live: Live, weights: Path):
    slicer, bare = extension(live, "ana"), Library(weights)
    assert slicer.test_connection()

    def same() -> None:
        assert slicer.shown == []
        np.testing.assert_array_equal(slicer.segment, bare.mask)

    slicer.point((13, 20, 8), True)
    bare.session.add_point_interaction((8, 20, 13), True)
    same()
    slicer.box((10, 12, 7), (18, 25, 7), True)
    bare.session.add_bbox_interaction([[7, 8], [12, 26], [10, 19]], True)
    same()
    slicer.box((18, 25, 9), (10, 12, 9), False)
    bare.session.add_bbox_interaction([[9, 10], [12, 26], [10, 19]], False)
    same()
    stroke = drawn((9, 10), (14, 20), (10, 13))
    slicer.stroke("scribble", stroke, True)
    bare.session.add_scribble_interaction(stroke, True)
    same()
    erased = stroke - 2 * drawn((9, 10), (14, 15), (10, 13))  # 255 where voxels were erased
    slicer.stroke("scribble", erased, False)
    bare.session.add_scribble_interaction(stroke, False)
    same()
    contour = drawn((3, 17), (11, 12), (8, 21), dtype=np.bool_)
    slicer.stroke("lasso", contour, True)
    bare.session.add_lasso_interaction(contour, True)
    same()
    assert slicer.uploads == 1
    assert slicer.segment.any()


def test_another_segment_and_an_old_one_again(live: Live, weights: Path):
    slicer, bare = extension(live, "ben"), Library(weights)
    slicer.point((13, 20, 8), True)
    first = slicer.segment
    slicer.segment, slicer.segment_uploaded = np.zeros(SHAPE, np.uint8), False
    slicer.point((30, 50, 20), True)
    bare.session.add_point_interaction((20, 50, 30), True)
    np.testing.assert_array_equal(slicer.segment, bare.mask)
    slicer.segment, slicer.segment_uploaded = first, False
    slicer.point((13, 30, 8), False)
    bare.session.add_initial_seg_interaction(first)
    bare.session.add_point_interaction((8, 30, 13), False)
    np.testing.assert_array_equal(slicer.segment, bare.mask)
    assert slicer.uploads == 1


def test_a_server_that_started_anew(weights: Path, tmp_path: Path):
    """With its workspace it goes on where it was; without, the extension sends everything again by itself."""
    with serving(tmp_path / "one", model(weights)) as first:
        slicer = extension(first, "ana")
        slicer.point((13, 20, 8), True)
        before = slicer.segment.copy()
    with serving(tmp_path / "one", model(weights)) as second:
        slicer.server = f"{second.url}/u/ana"
        slicer.point((13, 20, 8), True)
        assert (slicer.uploads, slicer.depth, slicer.shown) == (1, 0, [])
    with serving(tmp_path / "another", model(weights)) as third:
        slicer.server, slicer.segment = f"{third.url}/u/ana", before
        slicer.point((30, 50, 20), True)
        assert (slicer.uploads, slicer.depth, slicer.shown) == (2, 1, [])
        assert slicer.segment.any()


def test_what_goes_wrong_is_shown_once(live: Live):
    slicer = extension(live, "carla")
    slicer.point((13, 20, 400), True)
    assert "outside the volume" in slicer.shown.pop()
    slicer.point((13, 20, 8), True)
    assert slicer.segment.any()
    spoilt_voxels = VOXELS.astype(np.float32)
    spoilt_voxels[3, 4, 5] = np.nan
    spoilt = extension(live, "dora", spoilt_voxels)
    spoilt.point((13, 20, 8), True)
    assert len(spoilt.shown) == 3  # image, segment and point: each of them says why
    assert all("NaN" in message for message in spoilt.shown)
    assert spoilt.depth == 0
