"""Two people in each dialect, all at once, each with an image and clicks of their own: no mask crosses over.

The model grows a cube around each click, so that everybody's right mask is known by hand.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import nibabel
import numpy as np
import pytest
import requests
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession
from numpy.typing import NDArray

from app.archives.memory import MemoryArchive
from app.core.volume import Geometry, Volume
from app.settings import ModelSettings
from tests.clients.test_slicer_legacy import Extension
from tests.dialects.itksnap.replica import Image, ItkSnap, Wire
from tests.live import Live, serving
from tests.models.onnx_files import saved, threshold

ROUNDS = 6
PEOPLE = ("ana", "bo")
Index = tuple[int, int, int]


class Person:
    """Somebody's image, sizes of their own, and where they click."""

    def __init__(self, number: int) -> None:
        self.rng = np.random.default_rng(number)
        self.voxels = self.rng.normal(100, 30, (17 + number, 23 + 2 * number, 19 + 3 * number)).astype(np.float32)
        self.expected = np.zeros(self.voxels.shape, np.uint8)

    def next_click(self) -> Index:
        k, j, i = (int(self.rng.integers(n)) for n in self.voxels.shape)
        self.expected[max(0, k - 2) : k + 3, max(0, j - 2) : j + 3, max(0, i - 2) : i + 3] = 1
        return k, j, i


Click = Callable[[Index], NDArray[np.uint8]]


def monai_label(live: Live, person: Person, name: str) -> Click:
    clicks: list[list[int]] = []

    def click(at: Index) -> NDArray[np.uint8]:
        clicks.append(list(at[::-1]))
        params = {"foreground": clicks, "background": [], "result_compress": False, "client_id": name, "label": "x"}
        answer = requests.post(
            f"{live.url}/infer/clicks",
            params={"image": name, "output": "image"},
            data={"params": json.dumps(params)},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        voxels = answer.content.partition(b"\n\n")[2]
        return np.frombuffer(voxels, np.uint8).reshape(person.voxels.shape)

    return click


def nninteractive(live: Live, person: Person, name: str) -> Click:
    session = nnInteractiveRemoteInferenceSession(live.url)
    session.set_image(person.voxels[None])
    buffer = np.zeros(person.voxels.shape, np.uint8)
    session.set_target_buffer(buffer)

    def click(at: Index) -> NDArray[np.uint8]:
        session.add_point_interaction(at, True)
        return buffer

    return click


def slicer_legacy(live: Live, person: Person, name: str) -> Click:
    extension = Extension(f"{live.url}/u/{name}", person.voxels, np.zeros(person.voxels.shape, np.uint8))

    def click(at: Index) -> NDArray[np.uint8]:
        extension.point((at[2], at[1], at[0]), True)
        assert extension.shown == []
        return extension.segment

    return click


def itk_snap(live: Live, person: Person, name: str) -> Click:
    port = urlsplit(live.url).port
    assert port is not None
    snap, image = ItkSnap(Wire(port), 1 if name.endswith("ana") else 2), Image(person.voxels)
    snap.connect()
    return lambda at: snap.click(image, at[::-1])


def itkit(live: Live, person: Person, name: str) -> Click:
    """No clicks here: the image is changed instead, and the network says where it is bright."""

    def click(at: Index) -> NDArray[np.uint8]:
        image = nibabel.Nifti1Image(person.expected.T.astype(np.float32), np.eye(4))
        files = {"image": ("x.nii.gz", gzip.compress(image.to_bytes()))}
        fields = {"window_level": "0.5", "window_width": "1", "force_cpu": "false"}
        answer = requests.post(f"{live.url}/api/infer", files=files, data=fields, timeout=60)
        assert answer.status_code == 200, answer.text
        labels = nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content))
        return np.asarray(labels.dataobj).T

    return click


DIALECTS = (monai_label, nninteractive, slicer_legacy, itk_snap, itkit)


@pytest.fixture
def people() -> dict[str, Person]:
    names = [f"{dialect.__name__}-{name}" for dialect in DIALECTS for name in PEOPLE]
    return {name: Person(number) for number, name in enumerate(names)}


@pytest.fixture
def live(tmp_path: Path, people: dict[str, Person]) -> Iterator[Live]:
    archive = MemoryArchive()
    for name, person in people.items():
        archive.add_volume(name, Volume(person.voxels, Geometry(person.expected.shape, np.eye(4))))
    folder = tmp_path / "models"
    folder.mkdir()
    saved(threshold(), folder / "bright.onnx")
    models = {"clicks": ModelSettings(type="fake")}
    with serving(tmp_path / "workspace", models, archive, model_dir=folder) as one:
        one.services.sync.run()
        loaded = {"backend_type": "onnx", "model_path": "bright.onnx"}
        assert requests.post(f"{one.url}/api/model", json=loaded, timeout=60).status_code == 200
        yield one


def test_everybody_gets_their_own_mask(live: Live, people: dict[str, Person]) -> None:
    together = Barrier(len(people))

    def work(dialect: Callable[[Live, Person, str], Click], name: str) -> int:
        person = people[name]
        click = dialect(live, person, name)
        right = 0
        for _ in range(ROUNDS):
            together.wait(60)
            right += np.array_equal(click(person.next_click()), person.expected)
        return right

    jobs: list[tuple[Any, str]] = [(dialect, f"{dialect.__name__}-{name}") for dialect in DIALECTS for name in PEOPLE]
    with ThreadPoolExecutor(len(jobs)) as pool:
        results = dict(zip([name for _, name in jobs], pool.map(lambda job: work(*job), jobs), strict=True))
    assert results == dict.fromkeys(results, ROUNDS)
