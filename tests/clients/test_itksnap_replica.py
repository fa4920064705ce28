"""A replica of ITK-SNAP's requests against `segloop serve`, a tiny nnInteractive model, and `kill -9` in between.

ITK-SNAP never asks for a new session on its own, so the id and what was drawn have to outlive the server
(docs/protocols/itksnap.md, section 3).
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from app.core.volume import Geometry, Volume
from app.models.device import Device
from app.models.nninteractive.folder import read_folder
from app.models.nninteractive.library import load_model, open_session
from tests.dialects.itksnap.replica import Image, ItkSnap, Wire, packed
from tests.models.folders import tiny_nninteractive
from tests.orthanc import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SHAPE = (20, 26, 31)


class Server:
    """`segloop serve` as a process that can be killed and started again on the same port and workspace."""

    def __init__(self, folder: Path, weights: Path) -> None:
        self.port = free_port()
        self.workspace = folder / "workspace"
        (folder / "studies").mkdir()
        self._config = folder / "config.yaml"
        models = {"tiny": {"type": "nninteractive", "source": str(weights)}}
        self._config.write_text(
            yaml.safe_dump(
                {
                    "studies": str(folder / "studies"),
                    "workspace": str(self.workspace),
                    "port": self.port,
                    "device": "cpu",
                    "models": models,
                    "learning": {"train_after": 0},
                }
            )
        )
        self._log = folder / "log"

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "app.cli", "serve", "--config", str(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wire, deadline = Wire(self.port), time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if wire.get("/livez").status == 200:
                    wire.hang_up()
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the server doesn't start: {self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """As an operator does."""
        self._process.terminate()
        self._process.wait(60)

    def wait_until_the_image_is_on_disk(self) -> None:
        """It is written in the background; until then a kill loses it."""
        deadline = time.monotonic() + 60
        while not list((self.workspace / "uploads").rglob("*.nii*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A random network that is a little more for background than it came out: a mask that crosses the border of every
    patch would send the library zooming for minutes, along a path that isn't the same twice."""
    folder = tiny_nninteractive(tmp_path_factory.mktemp("weights") / "model", seed=2)
    file = folder / "fold_0" / "checkpoint_final.pth"
    saved = torch.load(file, weights_only=True)
    for name, tensor in saved["network_weights"].items():
        if "seg_layers" in name and name.endswith("bias"):
            tensor[0] += 0.3
    torch.save(saved, file)
    return folder


@pytest.fixture
def server(tmp_path: Path, weights: Path):
    server = Server(tmp_path, weights)
    server.start()
    yield server
    server.kill()


IMAGE = Image(np.random.default_rng(0).normal(100, 20, SHAPE).astype(np.float32))
STROKE = np.zeros(SHAPE, np.uint8)
STROKE[9, 8:20, 15] = 1
OUTLINE = np.zeros(SHAPE, np.uint8)
OUTLINE[6:14, 12, 10:22] = 1

Step = tuple[str, Any, bool]
STEPS: list[Step] = [
    ("point", (17, 12, 10), True),
    ("scribble", STROKE, True),
    ("point", (5, 20, 3), False),
    ("lasso", OUTLINE, True),
    ("point", (25, 5, 15), True),
]
"""Points as x, y, z."""


def take(snap: ItkSnap, step: Step, label: int = 1) -> NDArray[np.uint8]:
    kind, what, foreground = step
    if kind == "point":
        return snap.click(IMAGE, what, label, foreground)
    drawn_with: Literal["scribble", "lasso"] = "scribble" if kind == "scribble" else "lasso"
    return snap.draw(IMAGE, what, drawn_with, label, foreground)


def library_masks(weights: Path, steps: list[Step]) -> list[NDArray[np.uint8]]:
    """The bare nnInteractive session with the same weights, without any server."""
    device = Device("cpu")
    volume = Volume(IMAGE.voxels, Geometry(SHAPE, np.eye(4)))
    session = open_session(load_model(read_folder(weights), device), volume, device, "blosc2", autozoom=True)
    target = np.zeros(SHAPE, np.uint8)
    session.set_target_buffer(target)
    masks = []
    for kind, what, foreground in steps:
        if kind == "point":
            session.add_point_interaction(tuple(reversed(what)), foreground)
        elif kind == "scribble":
            session.add_scribble_interaction(what, foreground)
        else:
            session.add_lasso_interaction(what, foreground)
        masks.append(target.copy())
    device.shutdown()
    return masks


@pytest.mark.parametrize(("generation", "killed_after"), [(1, {0}), (2, {1, 3})])
def test_a_killed_server_goes_on_where_it_was(
    server: Server, weights: Path, generation: Literal[1, 2], killed_after: set[int]
) -> None:
    """The stroke after a kill answers as if nothing had happened, and as the bare library does."""
    expected = library_masks(weights, STEPS)
    assert len({mask.tobytes() for mask in expected}) > 2  # each step says something
    snap = ItkSnap(Wire(server.port), generation)
    snap.connect()
    for number, step in enumerate(STEPS):
        np.testing.assert_array_equal(take(snap, step), expected[number], err_msg=f"step {number}")
        if number in killed_after:
            server.wait_until_the_image_is_on_disk()
            server.kill()
            server.start()
    undisturbed = ItkSnap(Wire(server.port), generation)
    for step, mask in zip(STEPS, expected, strict=True):
        np.testing.assert_array_equal(take(undisturbed, step), mask)


def test_after_an_orderly_end_it_goes_on_from_a_snapshot(server: Server, weights: Path) -> None:
    expected = library_masks(weights, STEPS)
    snap = ItkSnap(Wire(server.port), 2)
    snap.connect()
    for step in STEPS[:4]:
        take(snap, step)
    server.end()
    (log,) = server.workspace.glob("sessions/*/log.jsonl")
    assert log.with_name("snapshot.bin").exists()
    server.start()
    np.testing.assert_array_equal(take(snap, STEPS[4]), expected[4])


def test_what_was_forgotten_stays_forgotten_after_a_restart(server: Server, weights: Path) -> None:
    """Another label's prompts; and an image that was ended or replaced by one that was refused: ITK-SNAP no longer
    shows it, and must not get its mask."""
    relabelled, ended, refused = (ItkSnap(Wire(server.port), 2) for _ in range(3))
    for snap in (relabelled, ended, refused):
        take(snap, STEPS[0])
    first = take(relabelled, STEPS[4], label=2)
    assert ended.wire.get(f"/v2/end_session/{ended.session}").status == 200
    server.wait_until_the_image_is_on_disk()
    server.kill()
    server.start()
    expected = library_masks(weights, [STEPS[4], STEPS[1]])
    np.testing.assert_array_equal(first, expected[0])
    np.testing.assert_array_equal(take(relabelled, STEPS[1], label=2), expected[1])
    sent = (packed(IMAGE.voxels)[:-30], IMAGE.metadata())
    assert refused.wire.post_voxels(f"/upload_raw/{refused.session}", *sent).status == 400
    for snap in (ended, refused):
        answer = snap.wire.get(f"/v2/process_point_interaction/{snap.session}?point=1&point=1&point=1")
        assert (answer.status, "no image" in answer.json()["detail"]) == (409, True)
